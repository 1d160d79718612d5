"""Capsules: groups of numbers whose length says whether an entity exists and whose direction says in what pose."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Capsules(NamedTuple):
    """A set of capsules for each sample."""

    poses: Float[Tensor, "b n d"]
    """Instantiation parameters of each entity."""
    activations: Float[Tensor, "b n"]
    """Existence of each entity, in [0, 1]; in Sabour et al. (2017) the length of the pose."""


class Grid(NamedTuple):
    """Where capsules stand: some types of them at every position of a map, listed type by type, row by row."""

    types: int
    """Capsules at each position."""
    height: int
    """Rows of positions."""
    width: int
    """Columns of positions."""
    dim: int
    """Pose size."""
    activations: bool = True
    """Whether the activations say anything; where they do not, all are 1."""

    @property
    def num_capsules(self) -> int:
        """Number of capsules."""
        return self.types * self.height * self.width


def squared_length(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
    """Sum of squares over the last axis."""
    return vectors.square().sum(dim=-1)


def lengths(vectors: Float[Tensor, "*n d"], epsilon: float = 1e-14) -> Float[Tensor, "*n"]:
    """Euclidean length over the last axis, with a finite gradient at zero.

    Args:
        vectors: Any poses.
        epsilon: Added to the squared length; the length of zero is its square root, 1e-7.
    """
    return (squared_length(vectors) + epsilon).sqrt()


def squash(vectors: Float[Tensor, "*n d"], epsilon: float = 1e-8) -> Float[Tensor, "*n d"]:
    """Shrink each vector to a length below one, direction kept (Sabour et al., 2017, equation 1).

    Args:
        vectors: The total input s_j of each capsule.
        epsilon: Added to the squared length under the root, so that value and gradient are finite at zero.

    >>> squash(torch.tensor([[3.0, 4.0]])).norm()
    tensor(0.9615)
    """
    squared = squared_length(vectors)
    scale = squared / (1 + squared) * (squared + epsilon).rsqrt()
    return vectors * scale[..., None]


def exponential_squash(vectors: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Shrink each vector to the length 1 - exp(-|s|), direction kept (Mazzia et al., 2021, equation 2).

    Args:
        vectors: The total input s of each capsule.
    """
    length = lengths(vectors)[..., None]
    return -torch.expm1(-length) * vectors / length


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 when it has that already: the precision in which routing runs."""
    return tensor if tensor.dtype is torch.float64 else tensor.float()
