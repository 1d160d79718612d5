"""Votes combined and compared without being stored, compiled by numba: they never leave the core's first cache.

The twin of `plain`, with rows of a pose that share a matrix.
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.votes import numba_loops
from capsnet_dist.kernels.votes.pieces import Division, added, arrays

loops: Any = numba_loops  # what numba compiles has no types


def combine(
    poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b r j d"]:
    """s_j = sum_i c_ij W_ij u_i."""
    pieces = pieces_of(poses, weight)
    total, inputs = pieces.by_wholes(), arrays(poses, matrices(weight), coupling)
    pieces.share(lambda some: loops.combine(*inputs, some, total.numpy()))
    return wholes(added(total), weight)


def agreement(
    poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b r j d"]
) -> Float[Tensor, "b i j"]:
    """a_ij = v_j . W_ij u_i."""
    found = poses.new_empty(*poses.shape[:2], weight.shape[1])
    inputs, (result,) = arrays(poses, matrices(weight), numbers_last(vectors)), arrays(found)
    pieces_of(poses, weight).share(lambda some: loops.agreement(*inputs, some, result))
    return found


def input_gradients(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    vectors: Float[Tensor, "b r j d"],
) -> tuple[Float[Tensor, "b i r p"], Float[Tensor, "i j d p"]]:
    """sum_j c_ij W_ij^T v_j, and sum_b c_ij v_j u_i^T."""
    pieces = pieces_of(poses, weight)
    by_poses, by_matrices = torch.empty_like(poses, memory_format=torch.contiguous_format), pieces.by_matrices()
    inputs, (gu,) = arrays(poses, matrices(weight), coupling, numbers_last(vectors)), arrays(by_poses)
    pieces.share(lambda some: loops.input_gradients(*inputs, some, gu, by_matrices.numpy()))
    return by_poses, weight_gradient(added(by_matrices), weight)


def pieces_of(poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"]) -> Division:
    """Those of loops that take samples one by one."""
    W = matrices(weight)
    return Division(W, (len(poses), poses.shape[2], W.shape[2]))


def matrices(weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "i p4 jd"]:
    """With zeros up to whole fours of p, so that no loop has a rest."""
    padded = torch.nn.functional.pad(weight.detach(), (0, -weight.shape[3] % 4))
    return rearrange(padded, "i j d p -> i p (j d)")


def weight_gradient(
    by_matrices: Float[Tensor, "i p4 jd"], weight: Float[Tensor, "i j d p"]
) -> Float[Tensor, "i j d p"]:
    """The gradient of the weight from that of its matrices."""
    return rearrange(by_matrices, "i p (j d) -> i j d p", j=weight.shape[1])[..., : weight.shape[3]]


def numbers_last(vectors: Float[Tensor, "b r j d"]) -> Float[Tensor, "b r jd"]:
    """All numbers of a row of the wholes as one axis."""
    return rearrange(vectors, "b r j d -> b r (j d)")


def wholes(vectors: Float[Tensor, "b r jd"], weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "b r j d"]:
    """The inverse of `numbers_last`."""
    return rearrange(vectors, "b r (j d) -> b r j d", j=weight.shape[1])
