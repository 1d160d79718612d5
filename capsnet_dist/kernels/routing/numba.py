"""Dynamic routing by single passes over the parts, compiled by numba: votes never leave the core's first cache.

The twin of `plain`, which says what each pass is. Parts are cut into pieces, always in the same way, and each has
totals of its own, added up in their order: results do not depend on the number of threads.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.routing import numba_loops
from capsnet_dist.kernels.threads import PIECES, share, share_pieces

loops: Any = numba_loops  # what numba compiles has no types


def total(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "b j d"],
    leaky: bool,
) -> Float[Tensor, "b j d"]:
    """The totals of one iteration, from V."""
    u, W, b, V = _arrays(poses, weight, _prior(prior, weight), gathered)
    pieces = _pieces(poses, gathered)
    share_pieces(lambda some: loops.total(u, W, b, V, leaky, some, pieces.numpy()), poses.shape[1])
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
    u, W, b, V, gs = _arrays(poses, weight, _prior(prior, weight), gathered, gradient)
    pieces = _pieces(poses, gathered)
    share_pieces(lambda some: loops.gathered_gradient(u, W, b, V, gs, leaky, some, pieces.numpy()), poses.shape[1])
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
    """Gradients of u, W and the prior, from gs and V of all iterations."""
    inputs = _arrays(poses, weight, _prior(prior, weight), gathered, gradient, common)
    results = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in (poses, weight)]
    results.append(weight.new_empty(weight.shape[:2]))
    outputs = _arrays(*results)
    share(lambda start, stop: loops.input_gradients(*inputs, leaky, through, start, stop, *outputs), poses.shape[1])
    return results[0], results[1], results[2]


def _prior(prior: Float[Tensor, "i j"] | None, weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "i j"]:
    return weight.new_zeros(weight.shape[:2]) if prior is None else prior


def _arrays(*tensors: Tensor) -> list[Any]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _pieces(poses: Float[Tensor, "b i p"], like: Float[Tensor, "b j d"]) -> Float[Tensor, "n b j d"]:
    """Zeros for the totals of each piece."""
    return like.new_zeros(min(PIECES, poses.shape[1]), *like.shape)
