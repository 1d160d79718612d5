"""How Triton's kernels are started: which programs there are, and what each holds."""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from triton import runtime as triton_runtime

runtime: Any = triton_runtime  # has no types

REGISTERS = 2**12  # numbers in the votes that a program holds
PROGRAMS = 2**9  # as many as keep a large GPU busy; a constant, so that sums are the same on any


class Sizes(NamedTuple):
    """The numbers that a kernel takes."""

    B: int
    """Samples."""
    I: int  # noqa: E741
    """Parts."""
    J: int
    """Wholes."""
    D: int
    """Pose size of a whole."""
    P: int
    """Pose size of a part."""

    @property
    def tile(self) -> dict[str, int]:
        """Samples, wholes and numbers that a program holds: powers of two."""
        wholes, numbers = power_of_two(self.J), power_of_two(self.D)
        samples = min(power_of_two(self.B), max(1, min(16, REGISTERS // (wholes * numbers))))
        return {"BB": samples, "BJ": wholes, "BD": numbers, "num_warps": 4 if wholes * numbers < REGISTERS else 8}

    @property
    def blocks(self) -> int:
        """Programs that hold all samples."""
        return -(-self.B // self.tile["BB"])

    @property
    def pieces(self) -> int:
        """Pieces of the parts, each with sums of its own."""
        return max(1, min(self.I, PROGRAMS // max(1, self.blocks)))


def sizes(poses: Tensor, weight: Tensor) -> Sizes:
    """Those of some votes."""
    return Sizes(len(poses), *weight.shape)


def empty(like: Tensor, *shape: int) -> Tensor:
    """Room for float32, in which all sums are."""
    return torch.empty(shape, dtype=torch.float32, device=like.device)


@cache
def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may have."""
    if device.type == "cpu":  # interpreted
        return 2**18
    return runtime.driver.active.utils.get_device_properties(device.index)["max_shared_mem"]


def fitting(tile: dict[str, int], available: int, stage: int) -> dict[str, int]:
    """The tile with as many stages, or with half the columns, as fit into shared memory.

    Args:
        tile: With BN, the columns, and num_stages.
        available: Bytes of shared memory.
        stage: Bytes that a stage of the tile takes.
    """
    stages = min(tile["num_stages"], available // stage)
    if stages < min(2, tile["num_stages"]) and tile["BN"] > 16:
        return fitting(tile | {"BN": tile["BN"] // 2}, available, -(-stage // 2))
    return tile | {"num_stages": max(1, stages)}


def power_of_two(number: int, least: int = 1) -> int:
    """The next power of two."""
    return max(least, 1 << max(0, number - 1).bit_length())
