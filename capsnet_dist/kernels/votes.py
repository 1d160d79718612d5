"""Votes combined and compared without being stored, with gradients."""

from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32
from capsnet_dist.kernels import backends


def combine(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
) -> Float[Tensor, "b j d"]:
    """Total input of each whole: s_j = sum_i c_ij W_ij u_i."""
    return Combine.apply(poses, weight, coupling)


def agreement(
    poses: Float[Tensor, "b i p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """Scalar products of votes and vectors: a_ij = W_ij u_i . v_j."""
    return Agreement.apply(poses, weight, vectors)


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
        gc = agreement(poses, weight, gs) if ctx.needs_input_grad[2] else None
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
        gv = combine(poses, weight, ga) if ctx.needs_input_grad[2] else None
        return *_input_gradients(ctx, poses, weight, ga, vectors), gv


def _input_gradients(
    ctx: Any, poses: Tensor, weight: Tensor, coupling: Tensor, vectors: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """gu_i = sum_j c_ij W_ij^T v_j and gW_ij = sum_b c_ij v_j u_i^T; gradients of gradients take plain sums."""
    wanted = ctx.needs_input_grad[:2]
    if not any(wanted):
        return None, None
    if torch.is_grad_enabled():
        gu = einsum(coupling, vectors, weight, "b i j, b j d, i j d p -> b i p")
        return gu, einsum(coupling, vectors, poses, "b i j, b j d, b i p -> i j d p")
    backend = backends.votes(poses, weight)
    gu, gW = backend.input_gradients(poses, weight, at_least_float32(coupling), at_least_float32(vectors))
    return gu if wanted[0] else None, gW if wanted[1] else None
