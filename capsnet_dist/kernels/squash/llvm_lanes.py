"""Squashing capsules out of feature maps with 16 types in the lanes of a vector; the twin of `plain`, by LLVM."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.llvm.vectors import LANES, ROWS
from capsnet_dist.kernels.scratch import flat_array, scratch
from capsnet_dist.kernels.squash import llvm_lanes_loops
from capsnet_dist.kernels.threads import share

loops: Any = llvm_lanes_loops  # what is compiled has no types


def fits(maps: Float[Tensor, "b c p"], dim: int) -> bool:
    """Whether poses fill vectors: of eight numbers or a multiple, side by side in memory, and of 16 types at least."""
    batch, channels, positions = maps.shape
    even = dim % ROWS == 0 and channels >= LANES * dim and min(batch, positions) > 0
    return even and maps.stride(1) == 1


def forward(
    maps: Float[Tensor, "b c p"], dim: int, epsilons: tuple[float, float]
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
    """Poses, and their lengths."""
    batch, channels, positions = maps.shape
    count = channels // dim * positions
    poses, lengths = maps.new_empty(batch, count, dim), maps.new_empty(batch, count)
    arrays = flat_array(maps), maps.stride(0), maps.stride(2), poses.numpy(), lengths.numpy()

    def work(start: int, stop: int) -> None:
        loops.squash(*arrays, positions, *epsilons, start, stop, _room(maps))

    share(work, batch)
    return poses, lengths


def backward(
    maps: Float[Tensor, "b c p"],
    dim: int,
    epsilons: tuple[float, float],
    by_poses: Float[Tensor, "b n d"] | None,
    by_lengths: Float[Tensor, "b n"] | None,
) -> Float[Tensor, "b c p"]:
    """The gradient of the maps."""
    batch, channels, positions = maps.shape
    count = channels // dim * positions
    gradient = torch.empty_strided(maps.shape, maps.stride(), dtype=maps.dtype)
    shapes = (batch, count, dim), (batch, count)
    given = [
        maps.new_zeros(shape) if x is None else x.contiguous()
        for x, shape in zip((by_poses, by_lengths), shapes, strict=True)
    ]
    arrays = (
        flat_array(maps),
        maps.stride(0),
        maps.stride(2),
        *(x.detach().numpy() for x in given),
        flat_array(gradient),
    )

    def work(start: int, stop: int) -> None:
        loops.squash_gradient(*arrays, positions, *epsilons, start, stop, _room(maps))

    share(work, batch)
    return gradient


def _room(like: Tensor) -> Any:
    """For a number of each lane."""
    return scratch("lanes", like, LANES).numpy()
