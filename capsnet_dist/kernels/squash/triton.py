"""Squashing capsules out of feature maps, in Triton: the twin of `squash.plain`, in one pass each way."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.launch_triton import empty, power_of_two
from capsnet_dist.kernels.squash import triton_loops

kernels: Any = triton_loops  # a launch has no types

ROWS = 128  # capsules of a program


def forward(
    maps: Float[Tensor, "b c p"], dim: int, epsilons: tuple[float, float]
) -> tuple[Float[Tensor, "b n d"], Float[Tensor, "b n"]]:
    """Poses, and their lengths."""
    batch, channels, positions = maps.shape
    count = channels // dim * positions
    poses, lengths = empty(maps, batch, count, dim), empty(maps, batch, count)
    with torch.cuda.device_of(maps):
        kernels.squash_kernel[batch, -(-count // ROWS)](
            maps, poses, lengths, *maps.stride(), count, positions, *epsilons, dim, ROWS, power_of_two(dim)
        )
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
    gradient = torch.empty_like(maps)  # strides and all
    given = [gradient if x is None else x.contiguous() for x in (by_poses, by_lengths)]
    flags = by_poses is not None, by_lengths is not None
    with torch.cuda.device_of(maps):
        kernels.squash_gradient_kernel[batch, -(-count // ROWS)](
            maps, *given, gradient, *maps.stride(), *gradient.stride(), count, positions, *epsilons, dim, *flags, ROWS,
            power_of_two(dim),
        )  # fmt: skip
    return gradient
