"""How far a long preparation is, on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

from capsnet_dist.screen.progress import SECONDS_BETWEEN_LINES, draws


@contextmanager
def counting(what: str, total: int | None) -> Generator[Callable[[], None]]:
    """Something to call after each of `total` things that are done; None where nobody knows how many there are.

    Whoever does them says it, whichever rank that is; nothing is said of what takes less than ten seconds.
    """
    if not draws():
        yield _Lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    own = bool(sys.stdout) and sys.stdout.isatty()  # piped output belongs to whoever reads the pipe
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=own) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


class _Lines:
    def __init__(self, what: str, total: int | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self.start = self.shown = time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.shown > SECONDS_BETWEEN_LINES:
            print(f"{self.what}: {self.done:,}{self._rest(now - self.start)}", file=sys.stderr, flush=True)  # noqa: T201
            self.shown = now

    def _rest(self, seconds: float) -> str:
        if self.total is None:
            return ""
        left = timedelta(seconds=round(seconds / self.done * (self.total - self.done)))
        return f" of {self.total:,}  {left} left"
