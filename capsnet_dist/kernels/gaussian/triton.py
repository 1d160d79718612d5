"""Votes compared with the means of Gaussian wholes without being stored, in Triton: the twin of `plain`.

Poses, means and precisions have the rows of one sample after the other, which the kernels number (b r).
"""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.gaussian import triton_loops
from capsnet_dist.kernels.gaussian.plain import Gradients
from capsnet_dist.kernels.launch_triton import empty, sizes

kernels: Any = triton_loops  # a launch has no types


def distances(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b i j"]:
    """f by c."""
    n, inputs = sizes(poses, weight), [x.contiguous() for x in (weight, means, precisions)]
    result = empty(poses, n.B, n.I, n.J)
    with torch.cuda.device_of(poses):
        kernels.distances_kernel[n.blocks, n.I](_rows_first(poses), *inputs, result, *n, poses.shape[2], **n.tile)
    return result


def spread(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
) -> Float[Tensor, "b r j d"]:
    """f by q."""
    return _moments(poses, weight, coupling, means)[1]


def gradients(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
    precisions: Float[Tensor, "b r j d"],
) -> Gradients:
    """f by everything."""
    differences, squares = _moments(poses, weight, coupling, means)
    u, rows = _rows_first(poses), poses.shape[2]
    n, inputs = sizes(u, weight), [x.contiguous() for x in (weight, coupling, means, precisions)]
    gu, gW = empty(poses, *u.shape), empty(weight, *weight.shape).zero_()
    with torch.cuda.device_of(poses):
        kernels.gaussian_gradients_kernel[(n.I,)](u, *inputs, gu, gW, *n, rows, **n.tile)
    by_poses = rearrange(gu, "(b r) i p -> b i r p", r=rows)
    by_coupling = distances(poses, weight, means, precisions)
    return Gradients(by_coupling, squares, -2 * precisions * differences, by_poses, gW)


def _moments(
    poses: Float[Tensor, "b i r p"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b r j d"],
) -> tuple[Float[Tensor, "b r j d"], Float[Tensor, "b r j d"]]:
    """sum_i c_ij (u_hat_ij - m_j), and of the squares."""
    u, rows = _rows_first(poses), poses.shape[2]
    n, inputs = sizes(u, weight), [x.contiguous() for x in (weight, coupling, means)]
    first, second = (empty(poses, n.pieces, n.B, n.J, n.D) for _ in range(2))
    with torch.cuda.device_of(poses):
        kernels.moments_kernel[n.blocks, n.pieces](u, *inputs, first, second, *n, rows, n.pieces, **n.tile)
    return first.sum(dim=0).view(means.shape), second.sum(dim=0).view(means.shape)


def _rows_first(poses: Float[Tensor, "b i r p"]) -> Float[Tensor, "br i p"]:
    return rearrange(poses, "b i r p -> (b r) i p").contiguous()
