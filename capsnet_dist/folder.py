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
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from capsnet_dist.errors import UserError
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
        self._made = [parent for parent in self.path.parents if not parent.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=run.resume is not None)
            (self.path / "samples").mkdir(exist_ok=run.resume is not None)
            self._lock = (self.path / ".lock").open("a+", encoding="utf-8")
        except FileExistsError as error:
            raise UserError(f"--run-dir {self.path} exists already, and runs are never overwritten.") from error
        except OSError as error:
            raise UserError(f"--run-dir {self.path} cannot be written: {error.strerror}.") from error
        self._take_lock()
        self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")

    def log(self, **values: Any) -> None:
        """Add a line to metrics.jsonl and flush it."""
        self._metrics.write(json.dumps(values) + "\n")
        self._metrics.flush()

    def cut_metrics(self, step: int) -> None:
        """Forget what was logged after a step, and what was said at the end: it comes again."""
        lines = (self.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if _is_before(line, step)]
        self._metrics.close()
        self.write("metrics.jsonl", "".join(f"{line}\n" for line in kept))
        self._metrics = (self.path / "metrics.jsonl").open("a", encoding="utf-8")

    def write(self, name: str, text: str) -> None:
        """Write a text file, so that a reader sees the old one or the new one, never a part."""
        beside = self.path / f".{name}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(self.path / name)

    def close(self, *, remove: bool) -> None:
        """Close the metrics; remove a new folder if nothing came of the run."""
        self._metrics.close()
        self._lock.close()
        if remove and not self.is_resumed:
            shutil.rmtree(self.path)
            for parent in self._made:
                parent.rmdir()

    def _take_lock(self) -> None:
        """Keep other jobs out: two that write the same run would mix."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            owner = self._lock.read().strip()
            raise UserError(f"{self.path} is in use by another job: {owner}. Wait for it or end it.") from error
        self._lock.truncate(0)
        self._lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._lock.flush()


def resumed_path(run: Run) -> Path | None:
    """The folder of the run that `--resume` names: itself, one of its checkpoints, or with "auto" the run's own."""
    if run.resume is None or run.resume == "auto":
        return None
    path = Path(run.resume)
    return path.parents[1] if path.name.startswith("step-") and path.parent.name == "checkpoints" else path


def _is_before(line: str, step: int) -> bool:
    try:
        values = json.loads(line)
    except ValueError:
        return False  # cut short when the run was killed
    return values.get("split") in ("train", "validation") and values.get("step", step + 1) <= step


def environment(device: torch.device) -> dict[str, Any]:
    """Where and with what a run was made."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "command": command(),
        "commit": _git_commit(),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "device": f"{device.type}: {name}",
        "threads": torch.get_num_threads(),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


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
