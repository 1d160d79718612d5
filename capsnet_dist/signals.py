"""Ctrl-C and SIGTERM as a request that the training loop reads between two steps."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from capsnet_dist.progress import say


class Interruption:
    """Whether the user asked to stop."""

    is_set = False

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """First signal: stop after this step. Second: at once."""
        if self.is_set:
            raise KeyboardInterrupt
        self.is_set = True
        say("Interrupted: ending after this step. Once more ends at once.")


@contextmanager
def interruption() -> Generator[Interruption]:
    """Hear Ctrl-C and SIGTERM; what handled them before comes back at the end."""
    interrupted = Interruption()
    before = {number: signal.signal(number, interrupted) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
