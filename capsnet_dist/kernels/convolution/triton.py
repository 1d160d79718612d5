"""Convolutions with 16-bit factors and sums in float32, in Triton; maps have their channels last in memory.

Of a wide convolution, rows of the matrix products are samples at one position, and columns are channels; a narrow one,
whose kernel covers few numbers, multiplies patches.
"""

from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.kernels.convolution import triton_loops
from capsnet_dist.kernels.launch_triton import empty, fitting, power_of_two, shared_memory

kernels: Any = triton_loops  # a launch has no types

PROGRAMS = 132  # that keep a large GPU busy
PACKED = 64  # filters that a program brings into order
LARGE = 512  # samples from which programs are busy enough with large tiles


class Shape(NamedTuple):
    """What a program of a wide convolution holds: the fastest of some on an H200."""

    BM: int
    """Samples."""
    BN: int
    """Channels."""
    num_warps: int
    num_stages: int


FORWARD = {"large": Shape(128, 256, 8, 3), "small": Shape(128, 128, 8, 4)}
BACKWARD = {"large": Shape(256, 128, 8, 3), "small": Shape(64, 256, 4, 4)}


class Geometry(NamedTuple):
    """The sizes of a convolution without padding."""

    batch: int
    channels: int
    """Before."""
    height: int
    width: int
    filters: int
    """Channels after."""
    rows: int
    """Of the kernel."""
    columns: int
    stride: int

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns of positions after."""
        return (self.height - self.rows) // self.stride + 1, (self.width - self.columns) // self.stride + 1

    @property
    def narrow(self) -> bool:
        """Whether patches are multiplied."""
        return self.channels * self.rows * self.columns <= 128


def convolve(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    bias: Float[Tensor, " n"],
    stride: int,
    rectify: bool,
    dtype: torch.dtype,
) -> Float[Tensor, "b n y x"]:
    """The convolution.

    Args:
        maps: Maps, of any floating type; no gradient is made of those of a narrow convolution.
        weight: Kernels.
        bias: Added to each channel.
        stride: Step of the kernel.
        rectify: Whether a ReLU follows.
        dtype: Type of the factors and of the result: bfloat16 or float16.
    """
    batch, channels, height, width = maps.shape
    rows, columns = weight.shape[2:]
    geometry = Geometry(batch, channels, height, width, len(weight), rows, columns, stride)
    layout = torch.contiguous_format if geometry.narrow else torch.channels_last
    return HalfConvolution.apply(maps.to(dtype).contiguous(memory_format=layout), weight, bias, geometry, rectify)[0]


class HalfConvolution(torch.autograd.Function):
    """The convolution, and its gradients in the types of what they are of."""

    @staticmethod
    def forward(maps: Tensor, weight: Tensor, bias: Tensor, geometry: Geometry, rectify: bool) -> tuple[Tensor, Tensor]:
        """The maps after, and for backward the weight as a matrix."""
        g, (height, width) = geometry, geometry.outputs
        shape = g.batch, g.filters, height, width
        out = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        matrix, positions = _matrix(weight, maps.dtype, geometry), height * width
        sizes = {"S": g.stride, "KX": g.columns, "C": g.channels, "N": g.filters, "RECTIFY": rectify}
        with torch.cuda.device_of(maps):
            if g.narrow:
                rows = g.batch * positions
                tile = {"BM": 128, "BN": min(128, power_of_two(g.filters)), "BK": _covered(g), "num_warps": 4}
                tile = _fitting(tile | {"num_stages": 1}, maps)
                kernels.patches_forward_kernel[-(-rows // tile["BM"]), -(-g.filters // tile["BN"])](
                    maps, matrix, bias, out, rows, g.height, g.width, width, positions, KY=g.rows, **sizes, **tile
                )
            else:
                tile = _fitting(_tile(FORWARD, g.batch, g.filters, g.channels), maps)
                kernels.forward_kernel[-(-g.batch // tile["BM"]) * positions, -(-g.filters // tile["BN"])](
                    maps, matrix, bias, out, g.batch, g.height, g.width, width, positions,
                    TAPS=g.rows * g.columns, **sizes, **tile,
                )  # fmt: skip
        return out, matrix

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep the inputs, and the output where it says which gradients count."""
        maps, weight, bias, ctx.geometry, ctx.rectify = inputs
        out, matrix = output
        ctx.mark_non_differentiable(matrix)
        ctx.save_for_backward(maps, weight, bias, matrix, out if ctx.rectify else None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of maps, weight and bias."""
        maps, weight, bias, matrix, out = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiably(gradients[0], (maps, weight, bias), ctx.geometry.stride, ctx.rectify), None, None
        gradient = gradients[0].to(maps.dtype).contiguous(memory_format=torch.channels_last)
        if ctx.geometry.narrow:
            return None, *_narrow_gradients(maps, gradient, out, weight, bias, ctx.geometry), None, None
        if out is not None:
            gradient = torch.where(out > 0, gradient, 0)
        by_maps = _input_gradient(maps, gradient, matrix, ctx.geometry) if ctx.needs_input_grad[0] else None
        by_bias = gradient.sum(dim=(0, 2, 3), dtype=torch.float32).to(bias.dtype)
        return by_maps, _weight_gradient(maps, gradient, weight, ctx.geometry), by_bias, None, None


def _input_gradient(maps: Tensor, gradient: Tensor, matrix: Tensor, g: Geometry) -> Tensor:
    found, (height, width) = torch.empty_like(maps), g.outputs
    tile = _fitting(_tile(BACKWARD, g.batch, g.channels, g.filters), maps)
    sizes = {"S": g.stride, "KY": g.rows, "KX": g.columns, "C": g.channels, "N": g.filters}
    with torch.cuda.device_of(maps):
        kernels.input_gradient_kernel[-(-g.batch // tile["BM"]) * g.height * g.width, -(-g.channels // tile["BN"])](
            gradient, matrix, found, g.batch, g.height, g.width, height, width, **sizes, **tile
        )
    return found


def _weight_gradient(maps: Tensor, gradient: Tensor, weight: Tensor, g: Geometry) -> Tensor:
    taps, (height, width) = g.rows * g.columns, g.outputs
    pieces = min(4, height * width)
    found = empty(maps, pieces, taps, g.channels, g.filters)
    tile = {"BM": min(128, power_of_two(g.channels)), "BN": min(256, power_of_two(g.filters)), "BK": 64}
    tile = _fitting(tile | {"num_warps": 8, "num_stages": 4}, maps)
    sizes = {"S": g.stride, "KX": g.columns, "TAPS": taps, "C": g.channels, "N": g.filters}
    grid = taps * pieces, -(-g.channels // tile["BM"]), -(-g.filters // tile["BN"])
    with torch.cuda.device_of(maps):
        kernels.weight_gradient_kernel[grid](
            maps, gradient, found, g.batch, g.height, g.width, width, height * width, pieces, **sizes, **tile
        )
    total = empty(weight, *weight.shape)
    with torch.cuda.device_of(maps):
        kernels.unpack_kernel[g.channels, -(-g.filters // PACKED)](
            found, total, pieces, taps, g.channels, g.filters, PACKED, power_of_two(taps)
        )
    return total.to(weight.dtype)


def _narrow_gradients(
    maps: Tensor, gradient: Tensor, out: Tensor | None, weight: Tensor, bias: Tensor, g: Geometry
) -> tuple[Tensor, Tensor]:
    """Those of weight and bias, from patches."""
    height, width = g.outputs
    rows, pieces, covered = g.batch * height * width, PROGRAMS, g.channels * g.rows * g.columns
    by_weight, by_bias = empty(maps, pieces, covered, g.filters), empty(maps, pieces, g.filters)
    tile = {"BM": 64, "BN": min(256, power_of_two(g.filters)), "BK": _covered(g), "num_warps": 8}
    tile = fitting(tile | {"num_stages": 3}, shared_memory(maps.device), 4 * tile["BM"] * tile["BN"])
    sizes = {"S": g.stride, "KY": g.rows, "KX": g.columns, "C": g.channels, "N": g.filters}
    with torch.cuda.device_of(maps):
        kernels.patches_gradient_kernel[pieces, -(-g.filters // tile["BN"])](
            maps, gradient, gradient if out is None else out, by_weight, by_bias, rows, pieces,
            g.height, g.width, width, height * width, RECTIFY=out is not None, **sizes, **tile,
        )  # fmt: skip
    total = rearrange(by_weight.sum(dim=0), "(c k l) n -> n c k l", c=g.channels, k=g.rows)
    return total.to(weight.dtype, memory_format=torch.contiguous_format), by_bias.sum(dim=0).to(bias.dtype)


def _matrix(weight: Float[Tensor, "n c k l"], dtype: torch.dtype, g: Geometry) -> Tensor:
    """The kernels as columns."""
    if g.narrow:
        return rearrange(weight, "n c k l -> (c k l) n").to(dtype).contiguous()
    taps = g.rows * g.columns
    matrix = torch.empty(taps * g.channels, g.filters, dtype=dtype, device=weight.device)
    with torch.cuda.device_of(weight):
        kernels.pack_kernel[g.channels, -(-g.filters // PACKED)](
            weight.contiguous(), matrix, taps, g.channels, g.filters, PACKED, power_of_two(taps)
        )
    return matrix


def _tile(shapes: dict[str, Shape], batch: int, columns: int, summed: int) -> dict[str, int]:
    """What a program of a wide convolution holds."""
    shape = shapes["large" if batch >= LARGE else "small"]
    step = min(64, summed & -summed)
    return shape._asdict() | {"BN": min(shape.BN, power_of_two(columns, least=16)), "BK": step}


def _fitting(tile: dict[str, int], maps: Tensor) -> dict[str, int]:
    """The same, or less, so that its stages fit into shared memory: two factors of 16 bits each."""
    return fitting(tile, shared_memory(maps.device), 2 * tile["BK"] * (tile["BM"] + tile["BN"]))


def _covered(g: Geometry) -> int:
    return power_of_two(g.channels * g.rows * g.columns, least=16)


def _differentiably(
    gradient: Tensor, inputs: tuple[Tensor, Tensor, Tensor], stride: int, rectify: bool
) -> tuple[Tensor | None, ...]:
    """The same by the library, for gradients of gradients."""
    maps, weight, bias = inputs
    out = nn.functional.conv2d(maps, weight.to(maps.dtype), bias.to(maps.dtype), stride)
    given = [x for x in inputs if x.requires_grad]
    found = iter(torch.autograd.grad(out.relu() if rectify else out, given, gradient, create_graph=True))
    return tuple(next(found) if x.requires_grad else None for x in inputs)
