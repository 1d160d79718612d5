"""Locks: one job at a time writes a folder. The system takes a lock back from a process that ends or is killed."""

import os
import platform
from pathlib import Path

import psutil

from capsnet_dist.errors import UserError
from capsnet_dist.screen.progress import say
from capsnet_dist.text import reason


class InUse(UserError):
    """Another job writes a folder.

    Args:
        place: The folder.
        owner: That job, as the file says that is locked.
    """

    def __init__(self, place: Path, owner: str) -> None:
        super().__init__(f"{place} is in use by another job: {owner}. Wait for it or end it.")
        self._owner = owner

    @property
    def is_orphaned(self) -> bool:
        """Whether that job has died, on this machine, and a process that it has started keeps the lock."""
        words = self._owner.split()
        number = int(words[1]) if len(words) > 1 and words[1].isdecimal() else 0
        return self._owner == _this_machine(number) and _has_died(number)


class Lock:
    """Keeps other jobs out of what this one writes, until it is closed; where the file system has no locks, it says so.

    Args:
        place: What is written, as messages call it; it must exist if it is the folder of the file.
        file: The file that is locked, which stays; `.lock` in the place if not given.

    Raises:
        InUse: another job writes there.
        OSError: the file cannot be made.
    """

    def __init__(self, place: Path, file: Path | None = None) -> None:
        self._file = (place / ".lock" if file is None else file).open("a+", encoding="utf-8", errors="replace")
        try:
            import fcntl  # not on every system

            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            owner = self._file.readline(200).strip()
            self.close()
            raise InUse(place, owner) from error
        except (ImportError, OSError) as error:
            say(f"Warning: {place} cannot be locked ({reason(error)}): let no other job write there.")
        self._file.truncate(0)
        self._file.write(f"{_this_machine(os.getpid())}\n")
        self._file.flush()

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *what: object) -> None:
        self.close()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """For the `pass_fds` of a process that keeps others out as long as it lives, even when this one is killed."""
        return () if os.name == "nt" else (self._file.fileno(),)

    def close(self) -> None:
        """Let others in."""
        self._file.close()


def _has_died(process: int) -> bool:
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _this_machine(process: int) -> str:
    """A process of this machine, as the file that it locks says."""
    return f"process {process} on {platform.node()}"


def is_locked(folder: Path) -> bool:
    """Whether a job writes a folder now, on this machine or where the file system has locks; True if unknown."""
    try:
        import fcntl  # not on every system

        with (folder / ".lock").open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except (ImportError, OSError):
        return True
