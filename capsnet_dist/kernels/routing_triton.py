"""Dynamic routing by single passes over the parts, in Triton: the twin of `routing_cpu`, which says what each is."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels import loops_triton
from capsnet_dist.kernels.launch_triton import empty, sizes

kernels: Any = loops_triton  # a launch has no types


def total(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """The totals of one round, from V."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, _prior(prior, weight), gathered)]
    pieces = empty(poses, n.pieces, n.B, n.J, n.D)
    with torch.cuda.device_of(poses):
        kernels.total_kernel[n.blocks, n.pieces](*inputs, pieces, *n, n.pieces, leaky, **n.tile)
    return pieces.sum(dim=0)


def gathered_gradient(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    gradient: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """From gs to gV."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, _prior(prior, weight), gathered, gradient)]
    pieces = empty(poses, n.pieces, n.B, n.J, n.D)
    with torch.cuda.device_of(poses):
        kernels.gathered_gradient_kernel[n.blocks, n.pieces](*inputs, pieces, *n, n.pieces, leaky, **n.tile)
    return pieces.sum(dim=0)


def input_gradients(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "t b j d"],
    gradient: Float[Tensor, "t b j d"],
    common: Float[Tensor, "b j d"],
    leaky: bool,
    through: bool,
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i j d p"], Float[Tensor, "i j"]]:
    """Gradients of u, W and the prior, from gs and V of all rounds."""
    n = sizes(poses, weight)
    inputs = [x.contiguous() for x in (poses, weight, _prior(prior, weight), gathered, gradient, common)]
    gu, gW, gprior = empty(poses, *poses.shape), empty(weight, *weight.shape).zero_(), empty(weight, n.I, n.J)
    with torch.cuda.device_of(poses):
        kernels.routing_gradients_kernel[(n.I,)](*inputs, gu, gW, gprior, *n, len(gathered), leaky, through, **n.tile)
    return gu.to(poses.dtype), gW.to(weight.dtype), gprior.to(weight.dtype)


def _prior(prior: Float[Tensor, "i j"] | None, weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "i j"]:
    return weight.new_zeros(weight.shape[:2]) if prior is None else prior
