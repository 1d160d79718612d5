"""Votes combined and compared without being stored, in Triton: the twin of `plain`."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.launch_triton import empty
from capsnet_dist.kernels.votes import triton_products


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    return triton_products.combine(poses, weight, rearrange(coupling, "b i j -> b j i"))


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """a_ij = v_j . W_ij u_i."""
    found = empty(poses, 1, len(poses), weight.shape[1], len(weight))
    triton_products.agreement(poses, weight, vectors[None], found)
    return rearrange(found, "1 b j i -> b i j")


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    vectors: Float[Tensor, "b j d"],
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"]]:
    """sum_j c_ij W_ij^T v_j, and sum_b c_ij v_j u_i^T."""
    by_poses, by_weight = empty(poses, *poses.shape), torch.zeros_like(weight, dtype=torch.float32)
    couplings = rearrange(coupling, "b i j -> 1 b j i")
    triton_products.add_gradients(poses, weight, couplings, vectors[None], by_poses, by_weight)
    return by_poses.to(poses.dtype), by_weight.to(weight.dtype)
