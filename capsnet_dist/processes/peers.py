"""What the processes of a run tell each other when one of them fails, so that the message names it."""

import itertools
import json
import os
import socket
import time
from datetime import timedelta
from pathlib import Path

from torch import distributed
from torch.distributed import PrefixStore, Store, TCPStore  # pyright: ignore[reportPrivateImportUsage]  # documented
from torch.distributed.distributed_c10d import _get_default_store  # pyright: ignore[reportPrivateUsage]

from capsnet_dist.errors import ProcessLost
from capsnet_dist.world import rank, world_size

PATIENCE = 2.0  # seconds for the others to answer: timeouts end within milliseconds, watchdogs look once a second
WAITS, WORKS = "waits", "works"

_trainings = itertools.count()  # of these processes: each has words of its own in the store


class Peers:
    """The processes of a run, by the store that the process group met in.

    Args:
        folder: The run folder, where this is rank 0.
    """

    def __init__(self, folder: Path | None) -> None:
        self.rank, self.world = rank(), world_size()
        store = _get_default_store().clone()  # asked beside the training, which may be waiting in its own
        store.set_timeout(timedelta(seconds=60))
        self._store = PrefixStore(f"capsnet_dist-{next(_trainings)}", store)
        self._store.set(f"place/{self.rank}", f"process {os.getpid()} on {socket.gethostname()}")
        if folder is not None:
            self._store.set("folder", str(folder.resolve()))
        self._folder = Path(self._store.get("folder").decode())
        self._places = {rank: self._store.get(f"place/{rank}").decode() for rank in range(self.world)}
        self._finding = ""

    def tell(self, error: BaseException) -> None:
        """Say why this process ends, for the others to repeat."""
        self._say(f"{type(error).__name__}: {error}")

    def lost(self, step: int, error: BaseException) -> ProcessLost:
        """Another process is lost: find out which one and why; where that is rank 0, write STATUS.json for it.

        Args:
            step: The step that was not finished, counted from 1.
            error: What the process group says.
        """
        finding = self._finding or self._find(error)
        lost = ProcessLost(f"Step {step} was not finished: {finding}. `--resume` goes on from the last checkpoint.")
        if self._silence(0) in finding and self._folder.is_dir():
            self._write_status(f"{type(lost).__name__}: {lost}")
        if self.rank == 0:
            time.sleep(PATIENCE)  # the others read from the store, which may live in this process
        return lost

    def answer(self, is_at_work: bool) -> None:
        """Hear, beside the training, whether another process asks who is lost, and what was found.

        A process that waits for one that knows of the loss would notice only when that one has ended.

        Args:
            is_at_work: Whether this process would not have given up waiting by now.
        """
        if self._finding:
            return
        try:
            if self._store.check(["finding"]):
                self._finding = self._store.get("finding").decode()
            elif is_at_work and self._store.check(["asked"]):
                self._store.compare_set(f"word/{self.rank}", "", WORKS)
        except distributed.DistError:
            pass  # the training will notice

    def _find(self, error: BaseException) -> str:
        """Which process is lost and why, the same in all that ask."""
        reached = self._say(WAITS)
        words = self._listen() if reached else {}
        silent = [rank for rank in range(self.world) if rank not in words] if reached else [0]
        spoken = sorted(words.items())
        reasons = [f"{self._name(rank)} failed: {word}" for rank, word in spoken if word not in (WAITS, WORKS)]
        reasons += [f"{self._silence(rank)}: it hangs, was killed or cannot be reached" for rank in silent]
        reasons = reasons or [f"{self._name(rank)} was still at work" for rank, word in spoken if word == WORKS]
        finding = "; ".join(reasons) or f"the processes lost each other: {error}"
        try:
            return self._store.compare_set("finding", "", finding).decode() if reached else finding
        except distributed.DistError:
            return finding

    def _say(self, word: str) -> bool:
        """Whether the store could be reached."""
        try:
            self._store.set(f"word/{self.rank}", word)
            return self._store.check([f"word/{self.rank}"])
        except distributed.DistError:
            return False

    def _listen(self) -> dict[int, str]:
        """What each rank says; nothing from those that are hung or dead."""
        words: dict[int, str] = {}
        deadline = time.monotonic() + PATIENCE
        try:
            self._store.set("asked", "")
            while len(words) < self.world and time.monotonic() < deadline:
                for rank in range(self.world):
                    if rank not in words and self._store.check([f"word/{rank}"]):
                        words[rank] = self._store.get(f"word/{rank}").decode()
                time.sleep(0.05)
        except distributed.DistError:
            pass  # the store ended with its process, before all had spoken
        return words

    def _name(self, rank: int) -> str:
        return f"rank {rank} ({self._places[rank]})"

    def _silence(self, rank: int) -> str:
        return f"no word from {self._name(rank)}"

    def _write_status(self, reason: str) -> None:
        beside = self._folder / f".STATUS.json.{self.rank}"
        beside.write_text(json.dumps({"state": "failed", "reason": reason}, indent=2) + "\n", encoding="utf-8")
        beside.replace(self._folder / "STATUS.json")


def is_store_reused() -> bool:
    """Whether processes before a restart have left what they said in the launcher's store."""
    reuses = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return reuses and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def launcher_store(timeout: timedelta) -> Store:
    """The store in which the processes of a launch meet, without what is left in it from before a restart."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = TCPStore(address, port, None, is_master=False, timeout=timeout, wait_for_workers=False)
    return PrefixStore(f"attempt-{os.environ['TORCHELASTIC_RESTART_COUNT']}", store) if is_store_reused() else store


def is_lost_peer(error: BaseException) -> bool:
    """Whether the process group failed, and not this process."""
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
