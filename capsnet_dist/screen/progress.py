"""How far the training is, on standard error: a live bar on a terminal, elsewhere plain lines by time."""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

import psutil
import torch

from capsnet_dist.text import printable
from capsnet_dist.world import speaks

if TYPE_CHECKING:
    from rich.console import Console

Style = Literal["auto", "rich", "plain", "none"]
SECONDS_BETWEEN_LINES = 10.0  # a day of training leaves under a megabyte of log
REFRESHES_PER_SECOND = 4

_bar_console: "Console | None" = None  # while a bar is drawn, what is said must pass through its console


def say(text: str) -> None:
    """Print a line that stays, on standard error, from rank 0 only; above the bar while there is one.

    Raises:
        BrokenPipeError: nobody reads it any more, as after `2>&1 | head`.
    """
    if not speaks():
        return
    text = printable(text)
    try:
        if _bar_console is not None:
            _bar_console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif sys.stderr:  # None after `2>&-`
            print(text, file=sys.stderr, flush=True)  # noqa: T201
    except BrokenPipeError as error:
        raise BrokenPipeError(error.errno, "nobody reads any more what the run says") from error
    except OSError:  # the disk of a log is full: the line comes with a later one; or the terminal has gone
        pass


def progress(style: Style, total: int, start: int = 0, *, images_per_step: int) -> "Progress":
    """A context manager that shows the steps of a training; for rank 0.

    Args:
        style: "rich" is a live bar, "plain" a line every ten seconds, "none" nothing but what is said. "auto" takes the
            bar on a terminal that can draw one, outside of CI, and plain lines elsewhere.
        total: Number of the last step.
        start: Steps that were done before.
        images_per_step: Images that all processes together see in a step.
    """
    if style == "auto":
        style = "rich" if draws() else "plain"
    kinds = {"rich": Bar, "plain": Lines, "none": Progress}
    return kinds[style](total, start, images_per_step)


class Progress:
    """Shows nothing but what is said; the other styles build on it."""

    def __init__(self, total: int, start: int, images_per_step: int) -> None:
        self.total, self.start, self.images_per_step = total, start, images_per_step

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last state on the screen."""

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note that `step` (counted from 1) is done, with the metrics of its batch."""

    def say(self, text: str) -> None:
        """Print a line that stays."""
        say(text)


class Lines(Progress):
    """A line every ten seconds, and for the first and the last step."""

    def __enter__(self) -> "Lines":
        self._shown_step, self._shown_time = self.start, time.monotonic()
        self._steady_step, self._steady_time = self.start, self._shown_time
        return self

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Print a line if it is time."""
        now = time.monotonic()
        first = step == self.start + 1
        if not first and step != self.total and now - self._shown_time < SECONDS_BETWEEN_LINES:
            return
        recent = (now - self._shown_time) / (step - self._shown_step)
        average = (now - self._steady_time) / (step - self._steady_step)
        numbers = _numbers(metrics, recent, self.images_per_step)
        left = "" if first and step < self.total else f"{_left(average * (self.total - step))}  "
        say(f"step {step}/{self.total}  {left}{numbers}")
        self._shown_step, self._shown_time = step, now
        if first:  # it compiles and allocates: no forecast is made from it
            self._steady_step, self._steady_time = step, now


class Bar(Progress):
    """A live bar, drawn by rich a few times a second whatever the number of steps."""

    def __init__(self, total: int, start: int, images_per_step: int) -> None:
        super().__init__(total, start, images_per_step)
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Rich

        self._metrics: Mapping[str, float] = {}
        self._rich = Rich(
            BarColumn(bar_width=10),
            TextColumn("{task.fields[bar]}", style="none", markup=False),
            console=Console(stderr=True),
            refresh_per_second=REFRESHES_PER_SECOND,
            redirect_stdout=bool(sys.stdout) and sys.stdout.isatty(),  # piped output belongs to whoever reads the pipe
        )
        self._task = self._rich.add_task("", total=total, completed=start, bar=self)

    def __enter__(self) -> "Bar":
        global _bar_console
        self._rich.start()
        _bar_console = self._rich.console
        return self

    def __exit__(self, *error: object) -> None:
        """Leave the last state on the screen."""
        global _bar_console
        _bar_console = None
        with suppress(OSError):  # the terminal has gone
            self._rich.stop()

    def step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Move the bar; it is drawn at its own pace."""
        self._metrics = metrics
        self._rich.update(self._task, completed=step)

    def __str__(self) -> str:
        """What stands beside the bar: rich asks for it only when it draws."""
        task = self._rich.tasks[0]
        count = f"{task.completed:.0f}/{self.total}"
        if not task.speed:
            return count
        numbers = _numbers(self._metrics, 1 / task.speed, self.images_per_step)
        return f"{count}  {_left(task.time_remaining or 0)}  {numbers}"


def draws() -> bool:
    """Whether standard error is a terminal that can draw a bar for a person."""
    return bool(sys.stderr) and sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def _numbers(metrics: Mapping[str, float], seconds: float, images_per_step: int) -> str:
    """What both styles show of a step that took `seconds`."""
    shown = [f"{name} {metrics[name]:.{digits}f}" for name, digits in (("loss", 4), ("accuracy", 3)) if name in metrics]
    seconds = max(seconds, 1e-9)  # a clock may not have moved between two steps
    each = f"{1000 * seconds:.3g} ms/step" if seconds < 1 else f"{seconds:.3g} s/step"
    shown += [f"{images_per_step / seconds:.0f} images/s", each]
    memory = _memory()
    shown += [] if memory is None else [f"{memory / 2**30:.1f} GiB"]
    return "  ".join(shown)


def _left(seconds: float) -> str:
    return f"{timedelta(seconds=round(seconds))} left"


def _memory() -> int | None:
    """Bytes: most that were allocated on the GPU, or resident in this process; None where the system does not tell."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    try:
        return psutil.Process().memory_info().rss
    except (psutil.Error, OSError):
        return None
