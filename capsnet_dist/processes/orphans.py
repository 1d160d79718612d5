"""A process whose launcher has died ends, instead of training on unseen."""

import ctypes
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2  # of linux/prctl.h


@contextmanager
def ending_with_launcher() -> Generator[None]:
    """Let the kernel end this process when the launcher of several processes dies, instead of training on unseen.

    Only under torchrun and `accelerate launch` with several processes, whose agent outlives its processes even at
    Ctrl-C. That of a single one does not, and the process may still be saving.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or not sys.platform.startswith("linux"):
        yield
        return
    prctl, before = ctypes.CDLL(None).prctl, ctypes.c_int()
    prctl(PR_GET_PDEATHSIG, ctypes.byref(before))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if _is_orphan():  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        yield
    finally:
        prctl(PR_SET_PDEATHSIG, before)


def _is_orphan() -> bool:
    """Whether our parent is neither an agent of torch.distributed.elastic nor anything that one has started."""
    try:
        parent = psutil.Process(os.getppid())
        return "TORCHELASTIC_RUN_ID" not in parent.environ() and "python" not in Path(parent.exe()).name
    except psutil.AccessDenied:
        return os.getppid() == 1  # of another user, so no agent of ours
    except psutil.NoSuchProcess:
        return False  # it ends this very moment, and the kernel knows
