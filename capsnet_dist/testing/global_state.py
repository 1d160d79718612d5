"""What all code of a process shares, random states and settings: read, put back, and which of it a plugin changes."""

import gc
import os
import random
import sys
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Shared(NamedTuple):
    """Something that all code of a process shares."""

    read: Callable[[], Any]
    write: Callable[[Any], Any]


def _attribute(owner: Any, name: str) -> Shared:
    return Shared(lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _autocast(device: str) -> Shared:
    def write(state: tuple[bool, torch.dtype]) -> None:
        torch.set_autocast_enabled(device, state[0])
        torch.set_autocast_dtype(device, state[1])

    return Shared(lambda: (torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)), write)


def _write_device(device: torch.device) -> None:
    torch.set_default_device(None if device.type == "cpu" else device)  # "cpu" would stay in the way of each call


def _write_environment(variables: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(variables)


def _write_filters(filters: list[Any]) -> None:
    warnings.filters[:] = filters  # pyright: ignore


def _numpy_state() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state()
    return name, tuple(keys), *rest


RANDOM = {
    "torch": Shared(lambda: bytes(torch.get_rng_state().numpy()), lambda state: torch.set_rng_state(_bytes(state))),
    "NumPy": Shared(_numpy_state, np.random.set_state),
    "Python": Shared(random.getstate, random.setstate),
}
"""The global random states, by the library that they belong to."""

SETTINGS = {
    "the default dtype": Shared(torch.get_default_dtype, torch.set_default_dtype),
    "the default device": Shared(torch.get_default_device, _write_device),
    "the gradient mode": Shared(torch.is_grad_enabled, torch.set_grad_enabled),
    "autocast on the CPU": _autocast("cpu"),
    "autocast on CUDA": _autocast("cuda"),
    "the cache of autocast": Shared(torch.is_autocast_cache_enabled, torch.set_autocast_cache_enabled),
    "the number of threads": Shared(torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": Shared(torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
    "anomaly detection": Shared(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "the precision of float32 products": Shared(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "TF32 in cuBLAS": _attribute(torch.backends.cuda.matmul, "allow_tf32"),
    "TF32 in cuDNN": _attribute(torch.backends.cudnn, "allow_tf32"),
    "whether cuDNN is used": _attribute(torch.backends.cudnn, "enabled"),
    "the benchmarks of cuDNN": _attribute(torch.backends.cudnn, "benchmark"),
    "determinism in cuDNN": _attribute(torch.backends.cudnn, "deterministic"),
    "NumPy's handling of errors": Shared(np.geterr, lambda handling: np.seterr(**handling)),
    "the filters of warnings": Shared(lambda: list(warnings.filters), _write_filters),
    "the environment variables": Shared(lambda: dict(os.environ), _write_environment),
    "the working directory": Shared(os.getcwd, os.chdir),
    "the recursion limit": Shared(sys.getrecursionlimit, sys.setrecursionlimit),
    "the garbage collector": Shared(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
}
"""The settings of a process that code may change, by name."""


def _bytes(state: bytes) -> Tensor:
    return torch.frombuffer(bytearray(state), dtype=torch.uint8)


def read(shared: dict[str, Shared]) -> dict[str, Any]:
    """The values of settings or random states, by name."""
    return {name: one.read() for name, one in shared.items()}


@contextmanager
def kept() -> Generator[None]:
    """Put all settings and random states back at the end."""
    before = read(SETTINGS), read(RANDOM)
    try:
        yield
    finally:
        for shared, values in zip((SETTINGS, RANDOM), before, strict=True):
            for name, one in shared.items():
                if one.read() != values[name]:
                    one.write(values[name])


def seed(number: int) -> None:
    """Seed all random states; that of PyTorch on the processor only."""
    torch.default_generator.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


class Drawn(NamedTuple):
    """What code does with the random states, by the library that they belong to."""

    moved: list[str]
    """Those it draws from."""
    seeded: list[str]
    """Those it seeds, or sets: they end alike, wherever they start."""


def draws(work: Callable[[], object]) -> Drawn:
    """Call something from two random states, and see what becomes of them."""
    starts, ends, reseeded = list[dict[str, Any]](), list[dict[str, Any]](), False
    for number in (1, 2):
        seed(number)
        starts.append(read(RANDOM))
        work()
        ends.append(read(RANDOM))
        reseeded = reseeded or torch.initial_seed() != number
    seeded = [name for name in RANDOM if ends[0][name] == ends[1][name] or (name == "torch" and reseeded)]
    moved = [name for name in RANDOM if starts[0][name] != ends[0][name] and name not in seeded]
    return Drawn(moved, seeded)
