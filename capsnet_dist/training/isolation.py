"""What a training or an evaluation changes in its process is given back when it ends, also when it fails."""

import os
import random
import warnings
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from capsnet_dist.processes.requests import on_gpu

VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "ACCELERATE_TORCH_DEVICE",
    "CUBLAS_WORKSPACE_CONFIG",
    "PYTORCH_ENABLE_MPS_FALLBACK",
)
"""Variables that Accelerate or a run sets."""

ACCELERATE: tuple[Any, ...] = (AcceleratorState, PartialState, GradientState)
"""What all Accelerators of a process share: device, processes, precision, accumulation."""


@contextmanager
def isolated() -> Generator[None]:
    """Work as in a process of its own: neither what surrounds it nor what follows it notices the other.

    Random states, warning filters, PyTorch's modes, default type, determinism and threads, the state that Accelerate
    shares, and variables of the environment come back as they were. It is for one thread at a time.
    """
    with (
        warnings.catch_warnings(),
        _variables(),
        _random_states(),
        _modes(),
        _accelerate_states(),
    ):
        yield


def reseed(seed: int, device: torch.device) -> None:
    """Let what is drawn next on the CPU and a device, as by dropout, follow from a seed.

    `torch.manual_seed` seeds every device there is, which takes a noticeable part of a short step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


@contextmanager
def _variables() -> Generator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _random_states() -> Generator[None]:
    used = on_gpu() or torch.cuda.is_initialized()  # elsewhere, asking for the state would start CUDA
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(range(torch.cuda.device_count()) if used else ()):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextmanager
def _modes() -> Generator[None]:
    """Start from PyTorch's defaults, whatever the program has set."""
    dtype, threads, determinism = (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.get_deterministic_debug_mode(),
    )
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as autocast:
            for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
                autocast.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_deterministic_debug_mode(determinism)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def _accelerate_states() -> Generator[None]:
    """Start from nothing: there is no public way to let a second Accelerator differ from the first."""
    before = [dict(state._shared_state) for state in ACCELERATE]
    for state in ACCELERATE:
        state._shared_state.clear()
    try:
        yield
    finally:
        for state, values in zip(ACCELERATE, before, strict=True):
            state._shared_state.clear()
            state._shared_state.update(values)
