"""Votes combined and compared without being stored, in plain torch.

All four functions are derivatives of one form, f = sum_bij c_ij v_j . W_ij u_i: by v, by c, by u and by W.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.blocks import blocks


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    total = coupling.new_zeros(weight.shape[1], weight.shape[2], len(poses))
    for block in blocks(poses, weight):
        block.add_total(rearrange(coupling[:, block.parts], "b n j -> j n 1 b"), total)
    return rearrange(total, "j d b -> b j d")


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """a_ij = v_j . W_ij u_i."""
    result = vectors.new_empty(*poses.shape[:2], weight.shape[1])
    v = rearrange(vectors, "b j d -> j d 1 b").contiguous()
    for block in blocks(poses, weight):
        result[:, block.parts] = rearrange(block.agree(block.project(v)), "j n 1 b -> b n j")
    return result


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    vectors: Float[Tensor, "b j d"],
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"]]:
    """Of f by u_i, sum_j c_ij W_ij^T v_j, and by W_ij, sum_b c_ij v_j u_i^T."""
    gu, gW = torch.empty_like(poses), torch.empty_like(weight)
    v = rearrange(vectors, "b j d -> j d 1 b").contiguous()
    for block in blocks(poses, weight):
        c = rearrange(coupling[:, block.parts], "b n j -> j n 1 b")
        gu[:, block.parts] = block.pose_gradient(c, block.project(v))
        gW[block.parts] = block.weight_gradient(c, v)
    return gu, gW
