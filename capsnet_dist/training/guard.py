"""Watches over a training of several processes, which ends, and says why, when one of them hangs, fails or dies."""

import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from types import TracebackType

from capsnet_dist.errors import ProcessLost
from capsnet_dist.processes.orphans import ending_with_launcher
from capsnet_dist.processes.peers import Peers, is_lost_peer
from capsnet_dist.processes.watchdog import Watchdog
from capsnet_dist.record.base import Record
from capsnet_dist.world import rank, world_size


class Guard:
    """Watches this process while it trains, and names the one that is lost.

    Args:
        timeout: Seconds after which a process that does not answer is given up.

    Raises:
        ProcessLost: another process hangs, failed or died.
    """

    def __init__(self, timeout: float) -> None:
        self._world, self._rank = world_size(), rank()
        self._peers: Peers | None = None
        self._ending = ExitStack()
        label = f"Rank {self._rank} (process {os.getpid()})"
        self._watchdog = Watchdog(timeout, label, ends=self._world > 1, each_look=self._look)

    def __enter__(self) -> "Guard":
        self._ending.enter_context(ending_with_launcher())
        return self

    def begin(self, record: Record) -> None:
        """All processes have found each other: the first step follows."""
        if self._world > 1:
            self._peers = Peers(record.path if self._rank == 0 else None)
        self._watchdog.__enter__()

    @contextmanager
    def resting(self) -> Generator[None]:
        """While the training waits for its caller, which may take its time unless other processes wait, too."""
        if self._world == 1:
            self._watchdog.rest()
        try:
            yield
        finally:
            self._watchdog.beat()

    def _look(self, is_at_work: bool) -> None:
        if self._peers is not None:
            self._peers.answer(is_at_work)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watchdog.__exit__()
        self._ending.close()
        if self._world == 1 or not isinstance(error, Exception):
            return
        if not is_lost_peer(error):
            if self._peers is not None:
                self._peers.tell(error)
        elif self._peers is None:
            raise ProcessLost(f"The processes did not meet, or one ended before the first step: {error}") from error
        else:
            raise self._peers.lost(self._watchdog.step + 1, error) from error
