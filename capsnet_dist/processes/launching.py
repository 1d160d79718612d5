"""What stands between the launcher and a training: Accelerate, set up, and a check that all processes started."""

import atexit
import ctypes
import itertools
import os
import signal
import sys
import warnings
from argparse import ArgumentParser
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import torch
from accelerate import Accelerator
from accelerate.commands.config import config_args
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    parse_flag_from_env,
)
from torch import distributed

from capsnet_dist.errors import UserError
from capsnet_dist.processes.peers import is_store_reused, launcher_store
from capsnet_dist.run import Run

PR_SET_PDEATHSIG = 1  # of linux/prctl.h
LAUNCHERS = {"accelerate", "accelerate-launch", "accelerate.commands.launch", "accelerate.commands.accelerate_cli"}


def make_accelerator(run: Run) -> Accelerator:
    """Accelerate as a run wants it: precision, accumulation, DDP and how long to wait for another process.

    Trainings that follow one another in the same processes may differ in all of that but the waiting.

    Raises:
        UserError: a precision that this machine does not have.
    """
    atexit.unregister(_part)  # should this training fail, who parts might wait for one that is lost
    # It keeps the precision of the training before, and has no public way to forget it. The processes stay joined.
    AcceleratorState._reset_state()  # pyright: ignore[reportPrivateUsage]
    precision = None if run.mixed_precision == "launcher" else run.mixed_precision
    wanted = precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if wanted == "fp16" and not torch.cuda.is_available():
        raise UserError("--mixed-precision fp16 needs a GPU; bf16 works on a CPU too.")
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses
    _meet_anew(run.timeout)
    # A kernel over one channel has two layouts that are the same in memory; DDP compares their strides.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return Accelerator(
        cpu=not torch.accelerator.is_available(),  # or processes without a GPU would each train alone
        mixed_precision=precision,
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=run.accumulation, sync_with_dataloader=False),
        kwargs_handlers=[
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=timedelta(seconds=run.timeout)),
        ],
    )


def part_at_exit() -> None:
    """A training has ended well: let the processes part when the program ends, since another one may follow."""
    atexit.register(_part)


def _part() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def first_on_its_machine(accelerator: Accelerator) -> Generator[None]:
    """Let one process a machine go first, as when it downloads what the others then find.

    Accelerate's own leaves the others waiting where the first fails, for them to say that they lost it.
    """
    if not accelerator.is_local_main_process:
        accelerator.wait_for_everyone()
    try:
        yield
    finally:
        if accelerator.is_local_main_process:
            accelerator.wait_for_everyone()


def shortfall(processes: int) -> str | None:
    """What to tell a user whose launcher was asked for more processes than train together; None if all do.

    Args:
        processes: How many train together, as Accelerate counts them.
    """
    asked = max(int(os.environ.get("WORLD_SIZE", "1")), _asked(_launcher()))
    if asked <= processes:
        return None
    start = "ACCELERATE_USE_CPU=true accelerate launch"
    return (
        f"The launcher was asked for {asked} processes, but training runs with {processes}. On a CPU, several start "
        f"only with `{start} --multi_gpu --num_processes {asked} --num_machines 1 {sys.argv[0]}` "
        f"or `{start} --config_file launch/cpu.yaml {sys.argv[0]}`."
    )


def end_with_launcher() -> None:
    """Let the kernel end this process when the launcher of several processes dies, instead of training on unseen.

    Only under torchrun and `accelerate launch` with several processes, whose agent outlives its processes even at
    Ctrl-C. That of a single one does not, and the process may still be saving.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if _is_orphan():  # it died before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def _meet_anew(timeout: float) -> None:
    """After a restart, let the processes find each other under another name.

    The launcher's store outlives them and holds the addresses of those before, which PyTorch (2.15) reads again.
    """
    if not is_store_reused():
        return
    on_gpus = torch.cuda.is_available() and not parse_flag_from_env("ACCELERATE_USE_CPU")
    patience = timedelta(seconds=timeout)
    distributed.init_process_group(
        "nccl" if on_gpus else "gloo",  # as Accelerate would
        store=launcher_store(patience),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=patience,
    )


def _launcher() -> list[str]:
    """The words of `accelerate launch` before the script it starts; empty if something else started us."""
    try:
        parent = psutil.Process().parent()
        words = parent.cmdline() if parent else []
    except (psutil.Error, OSError):
        return []  # processes of others may be hidden: without the words there is nothing to compare with
    if not any(Path(word).name in LAUNCHERS for word in words[:3]):
        return []
    return list(itertools.takewhile(lambda word: word != sys.argv[0], words))


def _asked(words: list[str]) -> int:
    """The number of processes in a command line of `accelerate launch` or in its configuration file."""
    if not words:
        return 1
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num_processes", "--num-processes", type=int)
    parser.add_argument("--config_file", "--config-file")
    parser.add_argument("--cpu", action="store_true")
    known, _ = parser.parse_known_args(words)
    if known.num_processes is not None:
        return known.num_processes
    # As the launcher does: the user's default configuration counts unless --cpu is given.
    default = None if known.cpu else config_args.default_config_file
    file = known.config_file or default
    if file is None or not Path(file).is_file():
        return 1
    asked: object = getattr(config_args.load_config_from_file(file), "num_processes", 1)
    return asked if isinstance(asked, int) else 1  # "gpu": the launcher counts them itself


def _is_orphan() -> bool:
    """Whether our parent is neither an agent of torch.distributed.elastic nor anything that one has started."""
    try:
        parent = psutil.Process(os.getppid())
        return "TORCHELASTIC_RUN_ID" not in parent.environ() and "python" not in Path(parent.exe()).name
    except psutil.AccessDenied:
        return os.getppid() == 1  # of another user, so no agent of ours
    except psutil.NoSuchProcess:
        return False  # it ends this very moment, and the kernel knows
