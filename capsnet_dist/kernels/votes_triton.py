"""Votes combined and compared without being stored, in Triton: the twin of `votes_cpu`."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels import loops_triton
from capsnet_dist.kernels.launch_triton import empty, sizes

kernels: Any = loops_triton  # a launch has no types


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, coupling)]
    pieces = empty(poses, n.pieces, n.B, n.J, n.D)
    with torch.cuda.device_of(poses):
        kernels.combine_kernel[n.blocks, n.pieces](*inputs, pieces, *n, n.pieces, **n.tile)
    return pieces.sum(dim=0)


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """a_ij = v_j . W_ij u_i."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, vectors)]
    result = empty(poses, n.B, n.I, n.J)
    with torch.cuda.device_of(poses):
        kernels.agreement_kernel[n.blocks, n.I](*inputs, result, *n, **n.tile)
    return result


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    vectors: Float[Tensor, "b j d"],
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"]]:
    """sum_j c_ij W_ij^T v_j, and sum_b c_ij v_j u_i^T."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, coupling, vectors)]
    gu, gW = empty(poses, *poses.shape), empty(weight, *weight.shape).zero_()
    with torch.cuda.device_of(poses):
        kernels.votes_gradients_kernel[(n.I,)](*inputs, gu, gW, *n, **n.tile)
    return gu.to(poses.dtype), gW.to(weight.dtype)
