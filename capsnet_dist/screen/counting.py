"""How far a long preparation is, on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

from capsnet_dist.screen.progress import SECONDS_BETWEEN_LINES, draws


@contextmanager
def counting(what: str, total: int) -> Generator[Callable[[], None]]:
    """Something to call after each of `total` things that are done.

    Whoever does them says it, whichever rank that is; nothing is said of what takes less than ten seconds.
    """
    if not draws():
        yield _Lines(what, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


class _Lines:
    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.start = self.shown = time.monotonic()

    def __call__(self) -> None:
        self.done += 1
        now = time.monotonic()
        if now - self.shown > SECONDS_BETWEEN_LINES:
            left = timedelta(seconds=round((now - self.start) / self.done * (self.total - self.done)))
            print(f"{self.what}: {self.done:,} of {self.total:,}  {left} left", file=sys.stderr, flush=True)  # noqa: T201
            self.shown = now
