"""Votes compared with the means of Gaussian wholes without being stored, in plain torch.

All are derivatives of one form, f = sum_bijd c_ij q_jd (u_hat_ijd - m_jd)^2: by c it gives the distances, by q the
spread. Rows r of a pose share a matrix.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32

NUMBERS = 2**18  # in the votes of a block: 1 MB of float32


class Gradients(NamedTuple):
    """Derivatives of f."""

    coupling: Float[Tensor, "b i j"]
    precisions: Float[Tensor, "b r j d"]
    means: Float[Tensor, "b r j d"]
    poses: Float[Tensor, "b i r p"]
    weight: Float[Tensor, "i j d p"]


class Block(NamedTuple):
    """Some of the parts."""

    parts: slice
    """Which."""
    poses: Float[Tensor, "n br p"]
    """Their poses u."""
    weight: Float[Tensor, "n p jd"]
    """Their transformations W."""
    differences: Float[Tensor, "n b r j d"]
    """u_hat_ij - m_j."""


def distances(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b i j"]:
    """f by c: sum_rd q_jrd (u_hat_ijrd - m_jrd)^2."""
    result = means.new_empty(*poses.shape[:2], weight.shape[1])
    for block in _blocks(poses, weight, means):
        result[:, block.parts] = _distances(block, precisions)
    return result


def spread(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b r j d"]:
    """f by q: sum_i c_ij (u_hat_ijrd - m_jrd)^2."""
    total = torch.zeros_like(means)
    for block in _blocks(poses, weight, means):
        total += _spread(block, coupling)
    return total


def gradients(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Gradients:
    """f by everything."""
    found = Gradients(
        torch.empty_like(coupling),
        torch.zeros_like(means),
        torch.zeros_like(means),
        torch.empty_like(poses),
        torch.empty_like(weight),
    )
    for block in _blocks(poses, weight, means):
        found.coupling[:, block.parts] = _distances(block, precisions)
        found.precisions.add_(_spread(block, coupling))
        gy = 2 * block.differences * precisions * _each(coupling, block)
        found.means.sub_(gy.sum(dim=0))
        gy = rearrange(gy, "n b r j d -> n (b r) (j d)")
        gu = torch.bmm(gy, block.weight.mT)
        found.poses[:, block.parts] = rearrange(gu, "n (b r) p -> b n r p", b=len(poses))
        gW = torch.bmm(gy.mT, block.poses)
        found.weight[block.parts] = rearrange(gW, "n (j d) p -> n j d p", j=weight.shape[1])
    return found


def _distances(block: Block, precisions: Float[Tensor, "b r j d"]) -> Float[Tensor, "b n j"]:
    return rearrange((block.differences.square() * precisions).sum(dim=(2, 4)), "n b j -> b n j")


def _spread(block: Block, coupling: Float[Tensor, "b i j"]) -> Float[Tensor, "b r j d"]:
    return (block.differences.square() * _each(coupling, block)).sum(dim=0)


def _each(coupling: Float[Tensor, "b i j"], block: Block) -> Float[Tensor, "n b 1 j 1"]:
    return rearrange(coupling[:, block.parts], "b n j -> n b 1 j 1")


def _blocks(
    poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"], means: Float[Tensor, "b r j d"]
) -> Iterator[Block]:
    """All parts, block by block."""
    size = max(1, NUMBERS // max(1, means.numel()))
    for start in range(0, len(weight), size):
        parts = slice(start, min(start + size, len(weight)))
        u = rearrange(at_least_float32(poses[:, parts]), "b n r p -> n (b r) p").contiguous()
        W = rearrange(at_least_float32(weight[parts]), "n j d p -> n p (j d)").contiguous()
        votes = rearrange(torch.bmm(u, W), "n (b r) (j d) -> n b r j d", b=len(poses), j=weight.shape[1])
        yield Block(parts, u, W, votes.sub_(means))
