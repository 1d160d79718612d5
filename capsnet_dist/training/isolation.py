"""What a training or an evaluation changes in its process is given back when it ends, also when it fails."""

import os
import random
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
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


class Isolation:
    """Contexts around a long piece of work, which are left whenever control is with its caller.

    What the work has set in its process comes back with it: variables, warning filters, PyTorch's determinism and
    threads, and the state that Accelerate shares.

    Args:
        contexts: Each makes a context: first at the beginning, then whenever the work goes on.
    """

    def __init__(self, *contexts: Callable[[], AbstractContextManager[object]]) -> None:
        self._contexts, self._entered = contexts, ExitStack()

    def __enter__(self) -> "Isolation":
        with ExitStack() as entered:  # left again where one of them fails
            for make in self._contexts:
                entered.enter_context(make())
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._entered.close()

    @contextmanager
    def lifted(self) -> Generator[None]:
        """Leave the contexts for a while."""
        give_back = _kept()
        self._entered.close()
        try:
            yield
        finally:
            self.__enter__()
            give_back()


def reseed(seed: int, device: torch.device) -> None:
    """Let what is drawn next on the CPU and a device, as by dropout, follow from a seed.

    `torch.manual_seed` seeds every device there is, which takes a noticeable part of a short step.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)


def _kept() -> Callable[[], None]:
    """What sets again all that is set now."""
    variables = {name: os.environ.get(name) for name in VARIABLES}
    filters, threads = warnings.filters[:], torch.get_num_threads()
    determinism, accelerate = torch.get_deterministic_debug_mode(), [dict(state._shared_state) for state in ACCELERATE]

    def give_back() -> None:
        _set_variables(variables)
        warnings.filters[:] = filters  # pyright: ignore
        torch.set_deterministic_debug_mode(determinism)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        _set_accelerate(accelerate)

    return give_back


@contextmanager
def _variables() -> Generator[None]:
    before = {name: os.environ.get(name) for name in VARIABLES}
    try:
        yield
    finally:
        _set_variables(before)


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
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
        _set_accelerate(before)


def _set_accelerate(held: Sequence[Mapping[str, Any]]) -> None:
    for state, values in zip(ACCELERATE, held, strict=True):
        state._shared_state.clear()
        state._shared_state.update(values)
