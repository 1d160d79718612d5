"""The run folder: what a training leaves behind."""

import json
import platform
import shlex
import shutil
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
    """A new folder for one run, written by one process alone.

    Args:
        run: The configuration; run_dir, or runs/NAME/TIME, must not exist.

    Raises:
        UserError: the folder exists or cannot be made.
    """

    def __init__(self, run: Run) -> None:
        time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        self.path = run.run_dir or Path("runs") / run.name / time
        self._made = [parent for parent in self.path.parents if not parent.exists()]
        try:
            self.path.mkdir(parents=True)
            (self.path / "samples").mkdir()
        except FileExistsError as error:
            raise UserError(f"--run-dir {self.path} exists already, and runs are never overwritten.") from error
        except OSError as error:
            raise UserError(f"--run-dir {self.path} cannot be written: {error.strerror}.") from error
        self._metrics = (self.path / "metrics.jsonl").open("x", encoding="utf-8")

    def log(self, **values: Any) -> None:
        """Add a line to metrics.jsonl and flush it."""
        self._metrics.write(json.dumps(values) + "\n")
        self._metrics.flush()

    def write(self, name: str, text: str) -> None:
        """Write a text file."""
        (self.path / name).write_text(text, encoding="utf-8")

    def close(self, *, remove: bool) -> None:
        """Close the metrics; remove the folder if nothing came of the run."""
        self._metrics.close()
        if remove:
            shutil.rmtree(self.path)
            for parent in self._made:
                parent.rmdir()


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
