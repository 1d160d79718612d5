"""Votes combined and compared without being stored, with gradients.

A pose may be a matrix, row after row, all of whose rows share a transformation: inside they have an axis r of their
own.
"""

from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32
from capsnet_dist.kernels import backends


def combine(
    poses: Float[Tensor, "b i rp"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j rd"]:
    """Total input of each whole: s_j = sum_i c_ij W_ij u_i."""
    found: Any = Combine.apply(poses_by_rows(poses, weight), weight, coupling)
    return rearrange(found, "b r j d -> b j (r d)")


def agreement(
    poses: Float[Tensor, "b i rp"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j rd"]
) -> Float[Tensor, "b i j"]:
    """Scalar products of votes and vectors: a_ij = W_ij u_i . v_j."""
    return Agreement.apply(poses_by_rows(poses, weight), weight, wholes_by_rows(vectors, weight))


def poses_by_rows(poses: Float[Tensor, "b i rp"], weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "b i r p"]:
    """With an axis for the rows of a part's pose."""
    return rearrange(poses, "b i (r p) -> b i r p", p=weight.shape[3])


def wholes_by_rows(vectors: Float[Tensor, "b j rd"], weight: Float[Tensor, "i j d p"]) -> Float[Tensor, "b r j d"]:
    """With an axis for the rows of a whole's pose, before the wholes."""
    return rearrange(vectors, "b j (r d) -> b r j d", d=weight.shape[2])


class Combine(torch.autograd.Function):
    """s_j = sum_i c_ij W_ij u_i. In backward gc is an agreement, with the gradient of s."""

    @staticmethod
    def forward(poses: Tensor, weight: Tensor, coupling: Tensor) -> Tensor:
        """The totals."""
        return backends.votes(poses, weight).combine(poses, weight, at_least_float32(coupling)).to(poses.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        poses, weight, coupling = ctx.saved_tensors
        gs = gradients[0]
        gc = Agreement.apply(poses, weight, gs) if ctx.needs_input_grad[2] else None
        return *_input_gradients(ctx, poses, weight, coupling, gs), gc


class Agreement(torch.autograd.Function):
    """a_ij = W_ij u_i . v_j. In backward gv is a total, with the gradient of a as couplings."""

    @staticmethod
    def forward(poses: Tensor, weight: Tensor, vectors: Tensor) -> Tensor:
        """The agreement."""
        return backends.votes(poses, weight).agreement(poses, weight, at_least_float32(vectors)).to(poses.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Keep the inputs."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        poses, weight, vectors = ctx.saved_tensors
        ga = gradients[0]
        gv = Combine.apply(poses, weight, ga) if ctx.needs_input_grad[2] else None
        return *_input_gradients(ctx, poses, weight, ga, vectors), gv


def _input_gradients(
    ctx: Any, poses: Tensor, weight: Tensor, coupling: Tensor, vectors: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """gu_i = sum_j c_ij W_ij^T v_j and gW_ij = sum_b c_ij v_j u_i^T; gradients of gradients take plain sums."""
    wanted = ctx.needs_input_grad[:2]
    if not any(wanted):
        return None, None
    if torch.is_grad_enabled():
        gu = einsum(coupling, vectors, weight, "b i j, b r j d, i j d p -> b i r p")
        return gu, einsum(coupling, vectors, poses, "b i j, b r j d, b i r p -> i j d p")
    backend = backends.votes(poses, weight)
    gu, gW = backend.input_gradients(poses, weight, at_least_float32(coupling), at_least_float32(vectors))
    return gu if wanted[0] else None, gW if wanted[1] else None
