"""Notices that this process hangs: shows where it stands, and ends it so that nobody waits for it."""

import faulthandler
import math
import os
import threading
import time
from collections.abc import Callable

GRACE = 5.0  # the others give up after the timeout, and need two seconds to say who is missing
LOOK = 1.0  # seconds between two looks; nothing that a training would feel

_current: "Watchdog | None" = None  # one a process, as faulthandler has one timer


def beat(step: int | None = None) -> None:
    """Tell the watchdog, if there is one, that work goes on; cheap enough for every batch.

    Args:
        step: The step that begins; None: the same as before.
    """
    if _current is not None:
        _current.beat(step)


class Watchdog(threading.Thread):
    """Prints the stacks of all threads after so long without a beat, and ends the process unless it trains alone.

    This thread watches the main one. faulthandler, which needs no interpreter lock, watches this thread.

    Args:
        timeout: Seconds without a beat that the others would wait.
        label: Who this is.
        ends: Whether to end the process, or only to show where it hangs.
        each_look: What else to do once a second, told whether the last beat was within the timeout.
    """

    def __init__(
        self, timeout: float, label: str, *, ends: bool, each_look: Callable[[bool], object] | None = None
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.step = 0
        """The step that began last, counted from 0."""
        self._timeout, self._label, self._ends, self._each_look = timeout, label, ends, each_look
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._enabled = False  # whether faulthandler was enabled here

    def beat(self, step: int | None = None) -> None:
        """Work goes on."""
        self._last = time.monotonic()
        if step is not None:
            self.step = step

    def rest(self) -> None:
        """Nothing is expected until the next beat."""
        self._last = math.inf

    def run(self) -> None:
        """Look once a second."""
        while not self._stopped.wait(LOOK):
            silence, limit = time.monotonic() - self._last, self._timeout + GRACE
            faulthandler.dump_traceback_later(limit, exit=self._ends, file=2)
            if silence > limit:
                self._bark(limit)
            if self._each_look is not None:
                self._each_look(silence < self._timeout)
        faulthandler.cancel_dump_traceback_later()

    def _bark(self, limit: float) -> None:
        after = "It ends now." if self._ends else "It trains alone and is left to it."
        text = f"\n{self._label} hangs in step {self.step + 1}: no batch was finished for {limit:.0f} s. {after}"
        os.write(2, f"{text} Its threads:\n".encode())
        faulthandler.dump_traceback(2, all_threads=True)
        if self._ends:
            os._exit(1)  # an exception would wait for the main thread
        self._last = time.monotonic()

    def __enter__(self) -> "Watchdog":
        global _current
        self._enabled = not faulthandler.is_enabled()
        if self._enabled:
            faulthandler.enable(2)  # stacks at a segmentation fault, or when NCCL gives up and aborts
        _current = self
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        global _current
        _current = None
        self._stopped.set()
        if self.is_alive():
            self.join()
        if self._enabled:
            faulthandler.disable()
