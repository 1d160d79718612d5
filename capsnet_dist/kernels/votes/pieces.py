"""How threads share the loops over votes, and arrays for them."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from capsnet_dist.kernels.threads import PIECES, Pieces, share_pieces

Ranges = Int[np.ndarray, "k 5"]
"""Some pieces, of each its number, its first sample and the one after its last, and likewise of parts."""


class Division:
    """How threads share the work: each takes samples and all parts, or parts and all samples.

    Sums over what is shared are added up in its order, from one number for each piece; the sizes alone decide which way
    needs less memory for that. So results do not depend on the number of threads.

    Args:
        weight: A matrix for each part, as the loops take it.
        shape: Of a sum over parts; its first axis are samples, or groups of them.
    """

    def __init__(self, weight: Tensor, shape: tuple[int, ...]) -> None:
        self.weight, self.shape = weight, shape
        self.num_samples, self.num_parts = shape[0], len(weight)
        self.of_samples = weight.numel() < math.prod(shape)
        self.number = min(PIECES, self.num_samples if self.of_samples else self.num_parts)

    def share(self, work: Callable[[Ranges], None]) -> None:
        """Do all pieces, some at a time."""
        own, others = (self.num_samples, self.num_parts) if self.of_samples else (self.num_parts, self.num_samples)

        def some(pieces: Pieces) -> None:
            number, each, whole = pieces[:, :1], pieces[:, 1:], np.full((len(pieces), 2), (0, others))
            work(np.hstack([number, each, whole] if self.of_samples else [number, whole, each]))

        share_pieces(some, own)

    def by_wholes(self) -> Float[Tensor, "n *wholes"]:
        """Zeros for a sum over parts."""
        return self.weight.new_zeros(1 if self.of_samples else self.number, *self.shape)

    def by_matrices(self) -> Float[Tensor, "n i *matrix"]:
        """Zeros for a sum over samples."""
        return self.weight.new_zeros(self.number if self.of_samples else 1, *self.weight.shape)


def added(sums: Float[Tensor, "n *size"]) -> Float[Tensor, "*size"]:
    """The sum of all pieces."""
    return sums[0] if len(sums) == 1 else sums.sum(dim=0)


def arrays(*tensors: Tensor) -> list[Any]:
    """For loops, which share the memory of tensors that are contiguous."""
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
