"""Capsules out of feature maps: squashed, with their lengths, in one pass where there is a kernel for it."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, at_least_float32, lengths, squash
from capsnet_dist.kernels import backends
from capsnet_dist.kernels.switch import fast_paths_allowed

EPSILONS = 1e-8, 1e-14  # those of `squash` and of `lengths`


def squash_maps(maps: Float[Tensor, "b c h w"], dim: int) -> Capsules:
    """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels.

    Args:
        maps: Totals s, the poses before they are squashed; of any floating type.
        dim: Pose size.
    """
    flat = rearrange(maps, "b c h w -> b c (h w)")
    if fast_paths_allowed() and one_pass(flat, dim) is not None:
        return Capsules(*Squash.apply(flat, dim))
    return plain(maps, dim)


def plain(maps: Float[Tensor, "b c h w"], dim: int) -> Capsules:
    """The same, step by step."""
    poses = squash(at_least_float32(rearrange(maps, "b (n d) h w -> b (n h w) d", d=dim)))
    return Capsules(poses, lengths(poses))


def squashed(totals: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
    """Poses of wholes; without a gradient of its own."""
    if backends.fits_triton(totals):
        return Squash.forward(rearrange(totals, "b j d -> b (j d) 1"), totals.shape[2])[0]
    return squash(totals)


def squash_gradient(totals: Float[Tensor, "b j d"], gradient: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
    """From the gradient of the poses to that of the totals."""
    if backends.fits_triton(totals):
        from capsnet_dist.kernels.squash import triton

        maps = rearrange(totals, "b j d -> b (j d) 1")
        return triton.backward(maps, totals.shape[2], EPSILONS, gradient, None).view_as(totals)
    with torch.enable_grad():
        s = totals.detach().requires_grad_()
        return torch.autograd.grad(squash(s), s, gradient)[0]


def one_pass(maps: Float[Tensor, "b c p"], dim: int) -> Any:
    """What squashes these maps in one pass; None: nothing does."""
    if backends.fits_triton(maps):
        from capsnet_dist.kernels.squash import triton

        return triton
    if backends.fits_lanes(maps):
        from capsnet_dist.kernels.squash import llvm_lanes

        return llvm_lanes if llvm_lanes.fits(maps, dim) else None
    return None


class Squash(torch.autograd.Function):
    """Squashing and lengths (Sabour et al., 2017, eq. 1), by Triton or numba."""

    @staticmethod
    def forward(maps: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Poses and lengths."""
        return one_pass(maps, dim).forward(maps, dim, EPSILONS)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the maps."""
        maps, ctx.dim = inputs
        ctx.save_for_backward(maps)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None]:
        """The gradient of the maps."""
        (maps,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            outputs = plain(rearrange(maps, "b c p -> b c p 1"), ctx.dim)
            pairs = [(x, g) for x, g in zip(outputs, gradients, strict=True) if g is not None]
            return torch.autograd.grad([x for x, _ in pairs], maps, [g for _, g in pairs], create_graph=True)[0], None
        if gradients[0] is None and gradients[1] is None:
            return None, None
        return one_pass(maps, ctx.dim).backward(maps, ctx.dim, EPSILONS, *gradients), None
