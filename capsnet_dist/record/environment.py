"""Where and with what a run is made."""

import os
import platform
import re
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from capsnet_dist.kernels import backends
from capsnet_dist.record.command import command
from capsnet_dist.version import VERSION

PACKAGE = Path(__file__).resolve().parents[1]
PACKAGES = ("torch", "torchvision", "accelerate", "safetensors", "einops", "numpy")
GIT_SECONDS = 10  # a checkout on a network file system may not answer


def environment(device: torch.device) -> dict[str, Any]:
    """What environment.json says; None for what cannot be found out."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "command": command(),
        "commit": commit(PACKAGE),
        "python": platform.python_version(),
        "packages": {"capsnet_dist": VERSION} | {package: _version(package) for package in PACKAGES},
        "device": f"{device.type}: {name}",
        "kernels": {"instructions": instructions(), "products": blas()} | backends.chosen(device),
        "threads": torch.get_num_threads(),
        "started": now(),
    }


def now() -> str:
    """The time, with its zone."""
    return datetime.now().astimezone().isoformat(timespec="seconds")


def processor() -> str:
    """The model of the CPU, where the system says it: others may round otherwise."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def instructions() -> str:
    """The widest instructions that PyTorch uses on the CPU: AVX512, AVX2 or others."""
    return torch.backends.cpu.get_cpu_capability()


def blas() -> str:
    """The library of PyTorch's matrix products on the CPU."""
    settings = torch.__config__.show()
    mkl = re.search(r"Math Kernel Library Version ([\d.]+)", settings)
    named = re.search(r"BLAS_INFO=(\w+)", settings)
    return f"MKL {mkl[1]}" if mkl else named[1] if named else "unknown"


def commit(package: Path) -> str | None:
    """The commit that a package is checked out at, with "-dirty" where files differ; None if it was installed.

    Whatever repository the user stands in, or a variable such as GIT_DIR names, is another one.
    """
    root = package.parent
    git = ["git", "--no-optional-locks", f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def ask(*words: str) -> str | None:
        done = subprocess.run(
            [*git, *words], cwd=root, env=variables, timeout=GIT_SECONDS, capture_output=True, check=False
        )
        return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None

    try:
        if not (root / ".git").exists() or not ask("ls-files", package.name):
            return None  # an environment for packages may itself lie in a repository
        return ask("describe", "--always", "--dirty")
    except (OSError, subprocess.TimeoutExpired):
        return None  # without git, or one that does not answer


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None  # used from a folder on the path
