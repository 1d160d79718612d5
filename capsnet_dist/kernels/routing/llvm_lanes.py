"""The passes of dynamic routing with 16 samples in the lanes of a vector, compiled by LLVM; `plain` says what each is.

Parts are cut into pieces, always in the same way, and each has totals of its own, added up in their order: results do
not depend on the number of threads. A piece recomputes the votes of a part for 16 samples at a time, which never leave
the core's first cache.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.routing import llvm_lanes_loops
from capsnet_dist.kernels.threads import PIECES, Pieces, share, share_pieces
from capsnet_dist.kernels.votes.llvm_lanes import (
    chunk,
    gradient_room,
    grouped,
    matrices,
    room,
    samples,
    weight_gradient,
)
from capsnet_dist.kernels.votes.pieces import arrays

loops: Any = llvm_lanes_loops  # what is compiled has no types


def total(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """The totals of one iteration, from V."""
    inputs = arrays(*_inputs(poses, weight, prior), V := grouped(gathered))
    pieces = V.new_zeros(min(PIECES, poses.shape[1]), *V.shape)

    def work(some: Pieces) -> None:
        loops.total(*inputs, leaky, some, pieces.numpy(), *room(weight, "c"))

    share_pieces(work, poses.shape[1])
    return samples(pieces.sum(dim=0), weight, len(poses))


def gathered_gradient(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    gradient: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """From gs to gV."""
    inputs = arrays(*_inputs(poses, weight, prior), V := grouped(gathered), grouped(gradient))
    pieces = V.new_zeros(min(PIECES, poses.shape[1]), *V.shape)

    def work(some: Pieces) -> None:
        loops.gathered_gradient(*inputs, leaky, some, pieces.numpy(), *room(weight, "c", "gb"))

    share_pieces(work, poses.shape[1])
    return samples(pieces.sum(dim=0), weight, len(poses))


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
    """Gradients of u, W and the prior, from gs and V of all iterations."""
    u, W, b = _inputs(poses, weight, prior)
    inputs = arrays(u, W, b, grouped(gathered), grouped(gradient), g := grouped(common))
    gu, gW, gprior = (torch.empty_like(x) for x in (u, W, b))
    outputs, groups = arrays(gu, gW, gprior), chunk(g)

    def work(start: int, stop: int) -> None:
        memory = *room(weight, "c", "gb", groups=groups), *gradient_room(weight, groups)
        loops.input_gradients(*inputs, leaky, through, start, stop, *outputs, *memory)

    share(work, poses.shape[1])
    return gu, weight_gradient(gW, weight), gprior


def _inputs(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], prior: Float[Tensor, "i j"] | None
) -> tuple[Float[Tensor, "b i p"], Float[Tensor, "i jd q"], Float[Tensor, "i j"]]:
    """Poses, matrices and logits."""
    prior = weight.new_zeros(weight.shape[:2]) if prior is None else prior
    return poses.contiguous(), matrices(weight), prior.contiguous()
