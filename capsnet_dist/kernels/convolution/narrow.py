"""Convolution with few taps and its ReLU, straight from the images, where numba is; else `patches` does it."""

from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.grad import conv2d_weight

from capsnet_dist.kernels import backends
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import PIECES, Pieces, share, share_pieces

ROWS, CHANNELS = 8, 32  # samples and channels of a tile


def fits(maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "n c k l"]) -> bool:
    """Whether tiles of samples and channels come out even, in float32."""
    even = len(maps) % ROWS == 0 and len(weight) % CHANNELS == 0
    return even and maps.dtype is torch.float32 and backends.installed("llvmlite")


def rectified_convolution(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    bias: Float[Tensor, " n"],
    stride: tuple[int, int],
    padding: tuple[int, int],
) -> Float[Tensor, "b n y x"]:
    """relu(maps * weight + bias), positions first in memory, with gradients by weight and bias.

    Args:
        maps: Images; they get no gradient.
        weight: The kernel.
        bias: Added to each channel.
        stride: Its step, of rows and columns.
        padding: Zeros around the images, of rows and columns.
    """
    found: Any = RectifiedConvolution.apply(maps, weight, bias, stride, padding)
    return rearrange(found, "y x b n -> b n y x")


class RectifiedConvolution(torch.autograd.Function):
    """y = relu(x * W + b)."""

    @staticmethod
    def forward(
        maps: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
    ) -> Float[Tensor, "y x b n"]:
        """The convolution; threads share the rows of what it gives."""
        from capsnet_dist.kernels.convolution import llvm_narrow_loops

        loops: Any = llvm_narrow_loops
        images = _samples_last(maps, padding)
        w = rearrange(weight, "(n panel) c k l -> n c k l panel", panel=CHANNELS).contiguous()
        sides = zip(images.shape[1:3], weight.shape[2:], stride, strict=True)
        outputs = [(side - kernel) // step + 1 for side, kernel, step in sides]
        y = maps.new_empty(*outputs, len(maps), len(weight))
        arrays, result = [x.detach().numpy() for x in (images, w, bias.contiguous())], y.numpy()
        share(lambda start, stop: loops.convolve(*arrays, stride, start, stop, result), outputs[0])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the images, and the result, which says where it was cut off."""
        maps, weight, _, ctx.stride, ctx.padding = inputs
        ctx.kernel = weight.shape
        ctx.save_for_backward(maps, output)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by weight and bias; each row of the result is added up apart."""
        maps, y = ctx.saved_tensors
        if torch.is_grad_enabled():  # gradients of gradients
            g = rearrange(gradients[0] * (y > 0), "y x b n -> b n y x")
            by_weight = conv2d_weight(maps, ctx.kernel, g, ctx.stride, ctx.padding)
            return None, by_weight, g.sum(dim=(0, 2, 3)), None, None
        from capsnet_dist.kernels.convolution import llvm_narrow_loops

        loops: Any = llvm_narrow_loops
        outputs, *kernel = ctx.kernel
        taps = kernel[0] * kernel[1] * kernel[2]
        count = min(PIECES, len(y))
        by_weight = y.new_zeros(count, taps + -taps % ROWS, outputs)
        by_bias = y.new_zeros(count, outputs)
        arrays = [x.detach().contiguous().numpy() for x in (_samples_last(maps, ctx.padding), gradients[0], y)]

        def work(some: Pieces) -> None:
            patches = scratch("patches", y, by_weight.shape[1], len(maps)).zero_().numpy()
            room = patches, scratch("rectified", y, len(maps), CHANNELS).numpy()
            for n, start, stop in some:
                sums = by_weight[n].numpy(), by_bias[n].numpy()
                loops.weight_gradient(*arrays, ctx.stride, tuple(kernel[1:]), start, stop, *sums, *room)

        share_pieces(work, len(y))
        total = rearrange(by_weight.sum(dim=0)[:taps], "k n -> n k").contiguous()
        return None, total.view(ctx.kernel), by_bias.sum(dim=0), None, None


def _samples_last(maps: Float[Tensor, "b c h w"], padding: tuple[int, int]) -> Float[Tensor, "c y x b"]:
    (top, left), batch = padding, len(maps)
    padded = pad(maps, (left, left, top, top)) if any(padding) else maps
    turned = rearrange(padded, "b c h w -> (c h w) b", b=batch).contiguous()
    return rearrange(turned, "(c h w) b -> c h w b", c=maps.shape[1], h=padded.shape[2])
