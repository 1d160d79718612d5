"""Memory of the CPU: what one step has freed serves the next, instead of fresh pages that the kernel must clear."""

import ctypes
import sys
from pathlib import Path

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
LARGEST = 2**31 - 1  # what an int holds


def keep_freed_memory() -> bool:
    """From now on let glibc keep large blocks that were freed; False where the C library is another one.

    Every step of a training needs the same large blocks. glibc asks the kernel for each of them and gives it back when
    it is freed, so that its pages are cleared anew a moment later. Memory does not grow beyond its peak. Threads share
    what was freed, instead of each keeping its own.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(*pair) for pair in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, LARGEST), (M_ARENA_MAX, 1)))


def peak_memory() -> int:
    """Most bytes at any time so far: allocated on the GPU, or else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if (peak := _linux_peak()) is not None:  # getrusage would start from what the process held that started this one
        return peak
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def total_memory(device: torch.device) -> int:
    """Bytes of a GPU, or else of this machine, free or not."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return psutil.virtual_memory().total


def _linux_peak() -> int | None:
    """What Linux says of this process; None where it is another system, or hides it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)
