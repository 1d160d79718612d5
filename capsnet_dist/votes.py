"""Votes: what each part predicts for each whole, as a linear operator."""

from functools import cached_property

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor


class Votes:
    """The prediction vectors u_hat_ij = W_ij u_i (Sabour et al., 2017, eq. 2).

    A routing uses the votes through these operations, so that it need not know how, or whether, they are stored.

    Args:
        poses: Poses u_i of the parts.
        weight: Transformation W_ij from the pose of a part to its vote for a whole.
    """

    def __init__(self, poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"]) -> None:
        self.poses = poses
        self.weight = weight
        self.num_parts, self.num_wholes, self.dim, _ = weight.shape

    def combine(self, coupling: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        """Total input of each whole: s_j = sum_i c_ij u_hat_ij (eq. 2)."""
        return einsum(self._part_major, coupling, "i b j d, b i j -> b j d")

    def agreement(self, poses: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j"]:
        """Scalar product of each vote with the pose of its whole: a_ij = u_hat_ij . v_j (procedure 1, line 7)."""
        return einsum(self._part_major, poses, "i b j d, b j d -> b i j")

    def compete(self, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
        """Softmax over all wholes that part i can vote for (eq. 3)."""
        return logits.softmax(dim=-1)

    def dense(self) -> Float[Tensor, "b i j d"]:
        """The votes themselves, for a routing that needs the tensor: b x i x j x d numbers."""
        return rearrange(self._part_major, "i b j d -> b i j d")

    @cached_property
    def _part_major(self) -> Float[Tensor, "i b j d"]:
        """One matrix product for each part, which is how the votes are fastest to make."""
        votes = torch.bmm(rearrange(self.poses, "b i p -> i b p"), rearrange(self.weight, "i j d p -> i p (j d)"))
        return rearrange(votes, "i b (j d) -> i b j d", d=self.dim)
