"""Votes compared with the means of Gaussian wholes without being stored, with gradients.

Both operations are derivatives of one form, f = sum_bijd c_ij q_jd (u_hat_ijd - m_jd)^2: the distances by c, the spread
by q. So backward of each needs the derivatives of f, with the gradient in the place of c, or q.
"""

from collections.abc import Callable
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32
from capsnet_dist.kernels import backends
from capsnet_dist.kernels.gaussian.plain import Gradients
from capsnet_dist.kernels.votes.function import poses_by_rows, wholes_by_rows


def distances(
    poses: Float[Tensor, "b i rp"],
    weight: Float[Tensor, "i j d p"],
    means: Float[Tensor, "b j rd"],
    precisions: Float[Tensor, "b j rd"],
) -> Float[Tensor, "b i j"]:
    """Squared distance of each vote from the mean of its whole: sum_d q_jd (u_hat_ijd - m_jd)^2."""
    m, q = wholes_by_rows(means, weight), wholes_by_rows(precisions, weight)
    return Distances.apply(poses_by_rows(poses, weight), weight, m, q)


def spread(
    poses: Float[Tensor, "b i rp"],
    weight: Float[Tensor, "i j d p"],
    coupling: Float[Tensor, "b i j"],
    means: Float[Tensor, "b j rd"],
) -> Float[Tensor, "b j rd"]:
    """How far what each whole receives is from its mean: sum_i c_ij (u_hat_ijd - m_jd)^2."""
    found: Any = Spread.apply(poses_by_rows(poses, weight), weight, coupling, wholes_by_rows(means, weight))
    return rearrange(found, "b r j d -> b j (r d)")


class Distances(torch.autograd.Function):
    """f by c."""

    @staticmethod
    def forward(poses: Tensor, weight: Tensor, means: Tensor, precisions: Tensor) -> Tensor:
        """The distances."""
        backend = backends.gaussian(poses, weight)
        return backend.distances(poses, weight, *map(at_least_float32, (means, precisions))).to(poses.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        poses, weight, means, precisions = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiably(_stored_distances, ctx.saved_tensors, gradients[0])
        found = _gradients(poses, weight, gradients[0], means, precisions)
        return found.poses, found.weight, found.means, found.precisions


class Spread(torch.autograd.Function):
    """f by q."""

    @staticmethod
    def forward(poses: Tensor, weight: Tensor, coupling: Tensor, means: Tensor) -> Tensor:
        """The spread."""
        backend = backends.gaussian(poses, weight)
        return backend.spread(poses, weight, *map(at_least_float32, (coupling, means))).to(poses.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        poses, weight, coupling, means = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiably(_stored_spread, ctx.saved_tensors, gradients[0])
        found = _gradients(poses, weight, coupling, means, gradients[0])
        return found.poses, found.weight, found.coupling, found.means


def _gradients(poses: Tensor, weight: Tensor, *others: Tensor) -> Gradients:
    found = backends.gaussian(poses, weight).gradients(poses, weight, *map(at_least_float32, others))
    return Gradients(*(x.to(poses.dtype) for x in found))


def _differentiably(
    function: Callable[..., Tensor], inputs: tuple[Tensor, ...], gradient: Tensor
) -> tuple[Tensor | None, ...]:
    """The same with the votes in memory, for gradients of gradients."""
    found = iter(
        torch.autograd.grad(function(*inputs), [x for x in inputs if x.requires_grad], gradient, create_graph=True)
    )
    return tuple(next(found) if x.requires_grad else None for x in inputs)


def _stored_squares(poses: Tensor, weight: Tensor, means: Tensor) -> Float[Tensor, "b i r j d"]:
    votes = einsum(poses, weight, "b i r p, i j d p -> b i r j d")
    return (votes - rearrange(means, "b r j d -> b 1 r j d")).square()


def _stored_distances(poses: Tensor, weight: Tensor, means: Tensor, precisions: Tensor) -> Float[Tensor, "b i j"]:
    return einsum(_stored_squares(poses, weight, means), precisions, "b i r j d, b r j d -> b i j")


def _stored_spread(poses: Tensor, weight: Tensor, coupling: Tensor, means: Tensor) -> Float[Tensor, "b r j d"]:
    return einsum(_stored_squares(poses, weight, means), coupling, "b i r j d, b i j -> b r j d")
