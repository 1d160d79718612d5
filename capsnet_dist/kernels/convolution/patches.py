"""Convolution as a matrix product on patches, its ReLU taken while what was multiplied is in the cache."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.scratch import scratch

ROWS = 2048  # at a time: 2 MB of 256 channels in float32


def rectified_product(
    patches: Float[Tensor, "r k"], weight: Float[Tensor, "n k"], bias: Float[Tensor, " n"] | None
) -> Float[Tensor, "r n"]:
    """relu(patches weight^T + bias), with gradients by weight and bias.

    Args:
        patches: What each window sees; they get no gradient.
        weight: A row for each channel.
        bias: Added to each channel.
    """
    found: Any = RectifiedProduct.apply(patches, weight, bias)
    return found


class RectifiedProduct(torch.autograd.Function):
    """y = relu(x W^T + b)."""

    @staticmethod
    def forward(patches: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product, some rows after the others."""
        y = patches.new_empty(len(patches), len(weight))
        for x, rows in zip(patches.split(ROWS), y.split(ROWS), strict=True):
            torch.mm(x, weight.mT, out=rows)
            if bias is not None:
                rows += bias
            rows.relu_()
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the patches, and the result, which says where it was cut off."""
        ctx.save_for_backward(inputs[0], output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by weight and bias."""
        patches, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            gradient = gradients[0] * (y > 0)
            return None, gradient.mT @ patches, gradient.sum(dim=0) if ctx.needs_input_grad[2] else None
        by_weight = patches.new_zeros(y.shape[1], patches.shape[1])
        by_bias = patches.new_zeros(y.shape[1]) if ctx.needs_input_grad[2] else None
        for x, rows, g in zip(patches.split(ROWS), y.split(ROWS), gradients[0].split(ROWS), strict=True):
            kept = scratch("rectified", rows, *rows.shape)
            torch.ops.aten.threshold_backward.grad_input(g, rows, 0, grad_input=kept)
            by_weight.addmm_(kept.mT, x)
            if by_bias is not None:
                by_bias += kept.sum(dim=0)
        return None, by_weight, by_bias
