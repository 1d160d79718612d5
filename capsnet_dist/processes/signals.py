"""Ctrl-C, SIGTERM, SIGUSR1, the clock and the caller as a request that the training loop reads between two steps."""

import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from capsnet_dist.screen.progress import say

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """Whether the training should save and end.

    Args:
        max_time: Minutes after which it should; None: never.
    """

    def __init__(self, max_time: float | None) -> None:
        self._max_time = max_time
        self._deadline = None if max_time is None else time.monotonic() + 60 * max_time
        self._signal = 0
        self.is_left = False
        """Whether the program that is given the evaluations wants no more."""

    @property
    def is_set(self) -> bool:
        """Whether a signal came or the time is up."""
        return bool(self._signal) or (self._deadline is not None and time.monotonic() >= self._deadline)

    @property
    def reason(self) -> str:
        """Why it should."""
        if self.is_left:
            return "stopped by the program that was given its evaluations"
        if self._signal:
            return signal.Signals(self._signal).name
        return f"--max-time {self._max_time:.3g}" if self.is_set else "a signal to another process"

    @property
    def exit_code(self) -> int:
        """As shells count: 128 and the number of the signal; SIGTERM's where another process heard it."""
        return 128 + (self._signal or signal.SIGTERM)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        """First signal: end after this step. A second Ctrl-C: at once."""
        if self._signal and signum == signal.SIGINT:
            say("Ctrl-C once more: ending at once. --resume goes on from the last checkpoint, if there is one.")
            raise KeyboardInterrupt("Ctrl-C once more, before all was saved")
        self._signal = signum
        say(f"{signal.Signals(signum).name}: saving after this step. Ctrl-C once more ends at once.")


@contextmanager
def hearing(interrupted: Interruption) -> Generator[None]:
    """Hear the signals; what handled them before comes back at the end.

    Only the main thread of a program can hear them: in another one, the clock alone interrupts. A handler that is not
    Python's is left as it is, since it could not be put back.
    """
    heard = [number for number in SIGNALS if signal.getsignal(number) is not None]
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, interrupted) for number in heard if is_main}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
