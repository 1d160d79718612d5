"""What stands between the launcher and a training: Accelerate, set up alike whatever has started the processes."""

import atexit
import os
import socket
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DynamoBackend,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    TorchDynamoPlugin,
)
from torch import distributed

from capsnet_dist.errors import Misplaced, UserError
from capsnet_dist.processes.peers import is_store_reused, launcher_store
from capsnet_dist.processes.requests import launcher_precision, on_gpu, refuse_what_cannot_be_done
from capsnet_dist.run import Run
from capsnet_dist.world import Place, have_met, place

PORT = "29500"  # where processes meet if nothing says otherwise, as for Accelerate

_joined_here = False  # whether a training has joined the processes, and not the program that called it


def make_accelerator(run: Run) -> Accelerator:
    """Accelerate as a run wants it: precision, accumulation, DDP and how long to wait for another process.

    Trainings that follow one another in the same processes may differ in all of that but the waiting. It leaves its
    mark on variables, warnings and the state that Accelerate shares: `isolated` gives them back.

    Raises:
        UserError: the launcher asks for what cannot be done, or for a precision that this machine does not have.
    """
    atexit.unregister(_part)  # should this training fail, who parts might wait for one that is lost
    if run.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS refuses
    # A kernel over one channel has two layouts that are the same in memory; DDP compares their strides.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    chosen = launcher_precision() if run.mixed_precision == "launcher" else run.mixed_precision
    return _set_up(chosen, run.timeout, run.accumulation)


def make_evaluator(precision: str) -> Accelerator:
    """Accelerate for an evaluation in some mixed precision; it leaves the same marks.

    Raises:
        UserError: the launcher asks for what cannot be done, or this machine does not have the precision.
    """
    return _set_up(precision, Run.timeout, accumulation=1)


def part_at_exit() -> None:
    """A training has ended well: let the processes part when the program ends, since another one may follow."""
    if _joined_here:
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


def _set_up(precision: str, timeout: float, accumulation: int) -> Accelerator:
    global _joined_here
    refuse_what_cannot_be_done()
    if precision == "fp16" and not on_gpu():
        raise UserError("--mixed-precision fp16 needs a GPU; bf16 works on a CPU too.")
    _announce(place())
    had_met = have_met()
    _meet_anew(timeout)
    try:
        accelerator = Accelerator(
            cpu=not on_gpu(),  # or processes without a GPU would each train alone
            mixed_precision=precision,
            dynamo_plugin=TorchDynamoPlugin(backend=DynamoBackend.NO),  # a run compiles by its own option
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulation, sync_with_dataloader=False),
            kwargs_handlers=[
                DistributedDataParallelKwargs(gradient_as_bucket_view=True),
                InitProcessGroupKwargs(timeout=timedelta(seconds=timeout)),
            ],
        )
    except (ValueError, ImportError, NotImplementedError) as error:
        raise UserError(f"Accelerate cannot be set up: {error}") from error
    _joined_here |= not had_met and have_met()
    return accelerator


def _announce(where: Place) -> None:
    """Say in the variables that PyTorch and Accelerate read what others have told, or nobody.

    Raises:
        UserError: something is missing that only the user can know.
    """
    if os.environ.get("ACCELERATE_TORCH_DEVICE") != "cpu":
        os.environ.pop("ACCELERATE_TORCH_DEVICE", None)  # or all processes of a machine would share one GPU
    if where.world_size == 1:
        if not os.environ.get("MASTER_ADDR"):
            os.environ.pop("LOCAL_RANK", None)  # Accelerate would let the process meet itself, and miss the address
        return
    if on_gpu():
        _check_gpu(where)
    else:
        _check_cpu()
    here = where.local_world_size == where.world_size
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT") or PORT
    if not (address or here or have_met()):
        raise UserError("MASTER_ADDR is not set: it tells where the process of rank 0 is.")
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(f"MASTER_PORT={port!r}: must be a number from 1 to 65535, the same for all processes.")
    told = {"MASTER_ADDR": address or "127.0.0.1", "MASTER_PORT": port}
    told |= {name.upper(): str(value) for name, value in where._asdict().items() if value is not None}
    os.environ.update(told)


def _check_cpu() -> None:
    """Refuse what Accelerate and gloo would answer at length.

    Raises:
        Misplaced: threads are not counted, or the network is not one of this machine.
    """
    if not (threads := os.environ.get("OMP_NUM_THREADS", "1")).isdecimal():
        raise Misplaced(f"OMP_NUM_THREADS={threads!r}: must be one number, or unset.")
    known, asked = [name for _, name in socket.if_nameindex()], os.environ.get("GLOO_SOCKET_IFNAME", "")
    if asked and not set(asked.split(",")) <= set(known):
        raise Misplaced(f"GLOO_SOCKET_IFNAME={asked!r}: must be of the interfaces of this machine: {', '.join(known)}.")


def _check_gpu(where: Place) -> None:
    """Refuse what NCCL would, or would not find out.

    Raises:
        Misplaced: nothing tells which GPU is that of this process, or there are too few.
    """
    if where.local_rank is None:
        raise Misplaced("LOCAL_RANK is not set: it tells which GPU of its machine is that of a process.")
    if where.local_rank >= (count := torch.cuda.device_count()):
        raise Misplaced(
            f"LOCAL_RANK={where.local_rank}, but this machine has {count} GPU(s), one for each process. "
            "Start fewer, or ACCELERATE_USE_CPU=true."
        )


def _meet_anew(timeout: float) -> None:
    """After a restart, let the processes find each other under another name.

    The launcher's store outlives them and holds the addresses of those before, which PyTorch (2.15) reads again.
    """
    if not is_store_reused() or have_met():
        return
    where, patience = place(), timedelta(seconds=timeout)
    distributed.init_process_group(
        "nccl" if on_gpu() else "gloo",  # as Accelerate would
        store=launcher_store(patience),
        rank=where.rank,
        world_size=where.world_size,
        timeout=patience,
    )
