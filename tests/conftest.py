"""One thread, and ranks forked from the process that has imported everything."""

import gc
import importlib
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo
from accelerate.state import AcceleratorState
from PIL import Image

from capsnet_dist.record.pictures import Pictures

os.environ["OMP_NUM_THREADS"] = "1"  # Accelerate warns where it is not set
torch.set_num_threads(1)

LATE = (
    "sklearn.datasets",
    "torchvision.utils",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "huggingface_hub.repocard",
    "numba",
)
"""What a run imports when it needs it, which every rank would do anew; some of it is heard again when Python ends."""


GREEN = (20, 200, 90)


def _rank(
    function: Callable[..., Any], arguments: tuple[Any, ...], rank: int, world: int, port: int, queue: Any
) -> None:
    os.environ.update(
        RANK=str(rank),
        LOCAL_RANK=str(rank),
        WORLD_SIZE=str(world),
        LOCAL_WORLD_SIZE=str(world),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        ACCELERATE_USE_CPU="true",
    )
    AcceleratorState._reset_state(reset_partial_state=True)  # what a test in the parent left behind
    try:
        result = function(*arguments)
    except BaseException as error:
        queue.put(f"rank {rank} failed: {error!r}")
        raise
    if rank == 0:
        queue.put((result,))


def start_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Call `function` in `world` forked processes joined by gloo, and leave them to the test."""
    return _fork(world, function, arguments)[0]


def run_ranks(world: int, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` in `world` forked processes joined by gloo; the result of rank 0."""
    ranks, queue = _fork(world, function, arguments)
    result = queue.get(timeout=120)
    assert isinstance(result, tuple), result
    for process in ranks:
        process.join(timeout=60)
        assert process.exitcode == 0
    return result[0]


def _fork(world: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[list[Any], Any]:
    for name in LATE:
        importlib.import_module(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    ranks = [
        context.Process(target=_rank, args=(function, arguments, rank, world, port, queue)) for rank in range(world)
    ]
    gc.freeze()  # or each rank would look for garbage among all that its parent has imported
    for process in ranks:
        process.start()
    gc.unfreeze()
    return ranks, queue


def paint(file: Path | str, color: int | tuple[int, int, int] = GREEN, size: tuple[int, int] = (8, 8)) -> None:
    """Save a picture of one colour; a number is a shade of red."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)


@pytest.fixture(autouse=True)
def _fresh_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_pictures(request, monkeypatch):
    """Let runs draw only for tests with the marker `pictures`: each run would draw for a second."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr(Pictures, "evaluated", lambda *given: None)
        monkeypatch.setattr(Pictures, "finished", lambda *given: None)


@pytest.fixture(autouse=True)
def _no_rank_is_left():
    """End what a test leaves running: the exit of the tests would wait for it."""
    yield
    for process in multiprocessing.active_children():
        process.kill()
        process.join(30)
