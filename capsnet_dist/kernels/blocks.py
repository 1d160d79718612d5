"""Some parts at a time, in plain torch: what they add to totals, how they agree, without writing their votes down.

Both move the matrix to where it serves all parts at once: s_j = sum_i W_ij (c_ij u_i) and a_ij = (W_ij^T v_j) . u_i.
Each is then one matrix product for each whole over all parts of a block, and only b x n x j x p numbers live at a time.
An axis m holds several sets of vectors, of which each has its own couplings.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32

NUMBERS = 2**18  # in the largest tensor of a block: 1 MB of float32, of which there are two at a time


class Block(NamedTuple):
    """Some of the parts."""

    parts: slice
    """Which."""
    poses: Float[Tensor, "p n 1 b"]
    """Their poses u."""
    weight: Float[Tensor, "j pn d"]
    """Their transformations W."""

    def project(self, vectors: Float[Tensor, "j d m b"]) -> Float[Tensor, "j p n m b"]:
        """W_ij^T v_j."""
        projected = torch.bmm(self.weight, rearrange(vectors, "j d m b -> j d (m b)"))
        return rearrange(projected, "j (p n) (m b) -> j p n m b", p=len(self.poses), b=vectors.shape[3])

    def agree(self, projected: Float[Tensor, "j p n m b"]) -> Float[Tensor, "j n m b"]:
        """(W_ij^T v_j) . u_i."""
        return (projected * self.poses).sum(dim=1)

    def weigh(self, coupling: Float[Tensor, "j n m b"]) -> Float[Tensor, "j pn mb"]:
        """c_ij u_i."""
        return rearrange(coupling[:, None] * self.poses, "j p n m b -> j (p n) (m b)")

    def add_total(self, coupling: Float[Tensor, "j n 1 b"], total: Float[Tensor, "j d b"]) -> None:
        """Add sum_i W_ij (c_ij u_i)."""
        total.baddbmm_(self.weight.mT, self.weigh(coupling))

    def pose_gradient(
        self, coupling: Float[Tensor, "j n m b"], projected: Float[Tensor, "j p n m b"]
    ) -> Float[Tensor, "b n p"]:
        """sum_jm c_ij W_ij^T v_j."""
        return rearrange((coupling[:, None] * projected).sum(dim=(0, 3)), "p n b -> b n p")

    def weight_gradient(
        self, coupling: Float[Tensor, "j n m b"], vectors: Float[Tensor, "j d m b"]
    ) -> Float[Tensor, "n j d p"]:
        """sum_bm c_ij v_j u_i^T."""
        gradient = torch.bmm(self.weigh(coupling), rearrange(vectors, "j d m b -> j (m b) d"))
        return rearrange(gradient, "j (p n) d -> n j d p", p=len(self.poses))

    def even_gradients(
        self, vectors: Float[Tensor, "j d b"]
    ) -> tuple[Float[Tensor, "b n p"], Float[Tensor, "n j d p"]]:
        """The same of both with couplings of one."""
        g = rearrange(vectors, "j d b -> (j d) b")
        gu = torch.mm(rearrange(self.weight, "j pn d -> pn (j d)"), g)
        gW = torch.mm(rearrange(self.poses, "p n 1 b -> (p n) b"), g.mT)
        sizes = {"p": len(self.poses), "j": len(vectors)}
        return rearrange(gu, "(p n) b -> b n p", p=sizes["p"]), rearrange(gW, "(p n) (j d) -> n j d p", **sizes)


def blocks(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], sets: int = 1, numbers: int = NUMBERS
) -> Iterator[Block]:
    """All parts, block by block.

    Args:
        poses: Poses u_i.
        weight: Transformations W_ij.
        sets: Length of the axis m.
        numbers: Most numbers in a tensor with all of a block's axes, unless one part has more.
    """
    (batch, num_parts, part_dim), num_wholes = poses.shape, weight.shape[1]
    size = max(1, numbers // max(1, sets * batch * num_wholes * part_dim))
    for start in range(0, num_parts, size):
        parts = slice(start, min(start + size, num_parts))
        u = rearrange(at_least_float32(poses[:, parts]), "b n p -> p n 1 b").contiguous()
        yield Block(parts, u, rearrange(at_least_float32(weight[parts]), "n j d p -> j (p n) d").contiguous())


def even_total(poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "b j d"]:
    """The sum of all votes for each whole: one matrix product for all wholes and many parts."""
    num_parts, num_wholes, dim, part_dim = weight.shape
    total = at_least_float32(poses.new_zeros(len(poses), num_wholes * dim))
    size = num_parts if poses.is_cuda else max(1, NUMBERS // max(1, num_wholes * dim * part_dim))
    for start in range(0, num_parts, size):
        u = rearrange(at_least_float32(poses[:, start : start + size]), "b n p -> b (n p)")
        total.addmm_(u, rearrange(at_least_float32(weight[start : start + size]), "n j d p -> (n p) (j d)"))
    return rearrange(total, "b (j d) -> b j d", j=num_wholes)
