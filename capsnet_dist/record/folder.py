"""The run folder: what a training leaves behind."""

import fcntl
import json
import os
import platform
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

import torch

from capsnet_dist.errors import UserError
from capsnet_dist.record.metrics_file import cut
from capsnet_dist.run import Run

PACKAGES = ("capsnet_dist", "torch", "torchvision", "accelerate", "safetensors", "einops", "numpy")


class RunFolder:
    """The folder of one run, written by one process alone: a new one, or one to go on with.

    Args:
        run: The configuration. run_dir, or runs/NAME/TIME, must not exist, unless the run is to be resumed.

    Raises:
        UserError: the folder exists, cannot be made or is in use.
    """

    def __init__(self, run: Run) -> None:
        time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        self.path = resumed_path(run) or run.run_dir or Path("runs") / run.name / time
        self.is_resumed = run.resume is not None and (self.path / "config.json").exists()
        if run.resume not in (None, "auto") and not self.is_resumed:
            raise UserError(f"--resume {run.resume}: {self.path} is not the folder of a run.")
        self._made = [path for path in (self.path, *self.path.parents) if not path.exists()]
        _refuse_links(self.path)
        try:
            self.path.mkdir(parents=True, exist_ok=run.resume is not None)
            (self.path / "samples").mkdir(exist_ok=run.resume is not None)
            self._lock = (self.path / ".lock").open("a+", encoding="utf-8", errors="replace")
            self._metrics = self._open_metrics()
        except FileExistsError as error:
            raise UserError(f"--run-dir {self.path} exists already, and runs are never overwritten.") from error
        except OSError as error:
            raise UserError(f"--run-dir {self.path} cannot be written: {error.strerror}.") from error
        self._take_lock()
        self._unwritten = b""

    def log(self, **values: Any) -> None:
        """Add a line to metrics.jsonl.

        Raises:
            OSError: the disk is full or gone; the line is kept, and written before the next one.
        """
        self._unwritten += json.dumps(values).encode() + b"\n"
        self._write()

    def sync(self) -> None:
        """Wait until metrics.jsonl is on the disk, with all lines that found no room before.

        Raises:
            OSError: the disk is full or gone.
        """
        self._write()
        os.fsync(self._metrics.fileno())

    def cut_metrics(self, step: int) -> None:
        """Forget what was logged after a step, and what was said at the end: it comes again.

        Raises:
            UserError: a line to keep is damaged; the file is left as it was.
        """
        beside = cut(self.path / "metrics.jsonl", step)
        self._metrics.close()
        beside.replace(self.path / "metrics.jsonl")
        self._metrics = self._open_metrics()

    def write(self, name: str, text: str) -> None:
        """Write a text file, so that a reader sees the old one or the new one, never a part.

        Raises:
            UserError: the folder has gone, or can no longer be written.
        """
        beside = self.path / f".{name}.new"
        with self.writing():
            beside.write_text(text, encoding="utf-8")
            beside.replace(self.path / name)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Say it in one line if the folder can no longer be written."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"The run folder {self.path} can no longer be written: {reason}.") from error

    def close(self, *, remove: bool) -> None:
        """Close the metrics; remove a new folder if nothing came of the run."""
        self._metrics.close()
        self._lock.close()
        if remove and self.path in self._made:
            shutil.rmtree(self.path, ignore_errors=True)
            for parent in self._made[1:]:
                parent.rmdir()

    def _write(self) -> None:
        while self._unwritten:
            self._unwritten = self._unwritten[self._metrics.write(self._unwritten) :]

    def _open_metrics(self) -> FileIO:
        return FileIO(self.path / "metrics.jsonl", "a")

    def _take_lock(self) -> None:
        """Keep other jobs out: two that write the same run would mix."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            owner = self._lock.readline(200).strip()
            raise UserError(f"{self.path} is in use by another job: {owner}. Wait for it or end it.") from error
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._lock.flush()


def resumed_path(run: Run) -> Path | None:
    """The folder of the run that `--resume` names: itself, one of its checkpoints, or with "auto" the run's own."""
    if run.resume is None or run.resume == "auto":
        return None
    path = Path(run.resume)
    return path if resumed_step(run) is None else path.parents[1]


def resumed_step(run: Run) -> int | None:
    """The step of the checkpoint that `--resume` names; None where it names a folder, or "auto".

    Raises:
        UserError: it is not called as checkpoints are.
    """
    if run.resume is None or run.resume == "auto" or Path(run.resume).parent.name != "checkpoints":
        return None
    number = Path(run.resume).name.removeprefix("step-")
    if not number.isdecimal() or Path(run.resume).name != f"step-{int(number):08d}":
        raise UserError(f"--resume {run.resume}: checkpoints are called as step-00000200.")
    return int(number)


def _refuse_links(folder: Path) -> None:
    """Refuse links and pipes where files will be written: they would land, or wait, elsewhere."""
    for path in (found for place in (folder, folder / "samples", folder / "checkpoints") for found in place.glob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is a link or no ordinary file, where a run would write: remove it first.")


def environment(device: torch.device) -> dict[str, Any]:
    """Where and with what a run was made."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "command": command(),
        "commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _processor() -> str:
    """The model of the CPU, where the system says it: others may round otherwise."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def command() -> str:
    """The command line that started this program, without the launcher."""
    return shlex.join(["python", *sys.argv])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None  # used from a folder on the path


def _git_commit() -> str | None:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
