"""The bilinear convolution as a function with gradients."""

from collections.abc import Iterator
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.bilinear import transform
from capsnet_dist.kernels.pieces import Piece, padded, pieces, positions_first
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.tiling import Tiling


def convolve(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    bias: Float[Tensor, " n"],
    tiling: Tiling,
    transformed: list[list[Tensor]] | None = None,
) -> Float[Tensor, "b n y x"]:
    """The convolution; `transformed` is what `transform_weight` gave for this weight and tiling, if it was kept."""
    kept: list[list[Tensor]] | None = [] if torch.is_grad_enabled() and weight.requires_grad else None
    found: Any = BilinearConvolution.apply(maps, weight, bias, tiling, transformed, kept)
    return rearrange(found, "y x b n -> b n y x")  # out here, so that what follows may overwrite it


class BilinearConvolution(torch.autograd.Function):
    """y = C [sum over phases of (A x) (G w)] + bias: each product is a matrix product over samples and channels.

    Both gradients have the same form. The transformed input is kept for backward: in the paper's network it takes 1.3
    times the memory of the input. The weight is transformed again: kept, it would take six times its own memory.
    """

    @staticmethod
    def forward(
        maps: Float[Tensor, "b c h w"],
        weight: Float[Tensor, "n c k l"],
        bias: Float[Tensor, " n"],
        tiling: Tiling,
        transformed: list[list[Tensor]] | None,
        kept: list[list[Tensor]] | None,
    ) -> Float[Tensor, "y x b n"]:
        """The convolution, positions first; `kept` gets the transformed input of each piece."""
        parts = pieces(tiling, maps)
        outputs, samples = parts[0].algorithm.outputs, len(maps) * tiling.tiles
        products = scratch("products", maps, sum(outputs.sizes), samples, len(weight))
        x = padded(maps, tiling)
        for piece, taps in zip(parts, transformed or _taps(weight, parts), strict=True):
            slots, factors = piece.slots(products, parts[0].algorithm), piece.inputs(x, keep=kept is not None)
            if kept is not None:
                kept.append(factors := list(factors))
            for at, of_inputs, of_taps in zip(slots, factors, taps, strict=True):
                if piece is parts[0]:  # it has all products
                    torch.bmm(of_inputs, of_taps.mT, out=at)
                else:
                    at.baddbmm_(of_inputs, of_taps.mT)
        tiles = outputs.adjoint(rearrange(products, "m s n -> m (s n)"), "tiles")
        sizes = {"k": tiling.rows.tiles, "l": tiling.columns.tiles, "b": len(maps)}
        result = rearrange(tiles, "y x (k l b n) -> (k y) (l x) b n", **sizes)
        return result[: tiling.rows.outputs, : tiling.columns.outputs] + bias

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep input and weight, as the library's convolution does."""
        maps, weight, _, ctx.tiling, _, ctx.kept = inputs
        ctx.save_for_backward(maps, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients by input, weight and bias."""
        gradient, (maps, weight) = rearrange(gradients[0], "y x b n -> b n y x"), ctx.saved_tensors
        wanted: tuple[bool, ...] = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled():  # gradients of gradients: the library's can be differentiated again
            return *_library_gradients(gradient, maps, weight, ctx.tiling, wanted), None, None, None
        parts = pieces(ctx.tiling, maps)
        products = _output_factors(gradient, parts[0])
        by_weight = _weight_gradient(products, maps, weight, parts, ctx.kept or []) if wanted[1] else None
        by_maps = _maps_gradient(products, maps, weight, parts) if wanted[0] else None  # in the memory given up
        return by_maps, by_weight, gradient.sum(dim=(0, 2, 3)) if wanted[2] else None, None, None, None


def transform_weight(weight: Float[Tensor, "n c k l"], tiling: Tiling) -> list[list[Float[Tensor, "_ n _"]]]:
    """G w of all phases and points, for as long as the weight stays as it is."""
    return [[factors.clone() for factors in taps] for taps in _taps(weight, pieces(tiling, weight))]


def _taps(weight: Float[Tensor, "n c k l"], parts: list[Piece]) -> Iterator[Iterator[Float[Tensor, "_ n _"]]]:
    """G w of one piece after the other."""
    first = positions_first("weight", weight)
    return (piece.taps(first) for piece in parts)


def _output_factors(gradient: Float[Tensor, "b n y x"], piece: Piece) -> Float[Tensor, "m s n"]:
    """C^T dy."""
    rows, columns, _ = piece.tiling
    ragged = (columns.tiles * columns.tile - columns.outputs, rows.tiles * rows.tile - rows.outputs)
    if any(ragged):
        gradient = torch.nn.functional.pad(gradient, (0, ragged[0], 0, ragged[1]))
    tiles = rearrange(gradient, "b n (k y) (l x) -> y x (k l b n)", y=rows.tile, x=columns.tile)
    return rearrange(piece.algorithm.outputs.apply(tiles, "products"), "m (s n) -> m s n", n=gradient.shape[1])


def _maps_gradient(
    products: Float[Tensor, "m s n"],
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    parts: list[Piece],
) -> Float[Tensor, "b c h w"]:
    """A^T [(C^T dy) (G w)]."""
    rows, columns, _ = parts[0].tiling
    height, width = rows.padding + rows.length + rows.missing, columns.padding + columns.length + columns.missing
    gradient = maps.new_zeros(height, width, len(maps), maps.shape[1])
    for piece, taps in zip(parts, _taps(weight, parts), strict=True):
        channels, inputs = piece.rows.number * piece.columns.number * maps.shape[1], piece.algorithm.inputs
        values = inputs.empty(maps, products.shape[1] * channels, "input values")
        slots = piece.slots(products, parts[0].algorithm)
        for (matrix, at), of_products, of_taps in zip(inputs.at_points(values), slots, taps, strict=True):
            factors = scratch("inputs", maps, len(matrix), products.shape[1], channels)
            torch.bmm(of_products, of_taps, out=factors)
            transform(matrix.mT, rearrange(factors, "m s c -> m (s c)"), at)
        piece.set_inputs(values, gradient)
    inner = gradient[rows.padding :, columns.padding :][: rows.length, : columns.length]
    return rearrange(inner, "h w b c -> b c h w")


def _weight_gradient(
    products: Float[Tensor, "m s n"],
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    parts: list[Piece],
    kept: list[list[Tensor]],
) -> Float[Tensor, "n c k l"]:
    """G^T [(C^T dy) (A x)], each A x given up once it was used; a second time they are made again."""
    channels, inputs, height, width = weight.shape
    w = scratch("weight", weight, height, width, channels, inputs)
    x = None if kept else padded(maps, parts[0].tiling)
    for piece in parts:
        inputs_at_points = iter(kept.pop(0)) if x is None else piece.inputs(x)
        each, taps = piece.rows.number * piece.columns.number * inputs, piece.algorithm.taps
        values = taps.empty(weight, channels * each, "tap values")
        slots = piece.slots(products, parts[0].algorithm)
        for (matrix, at), of_products, of_inputs in zip(taps.at_points(values), slots, inputs_at_points, strict=True):
            factors = scratch("taps", weight, len(matrix), channels, each)
            torch.bmm(of_products.mT, of_inputs, out=factors)
            transform(matrix.mT, rearrange(factors, "m n c -> m (n c)"), at)
        piece.set_taps(values, w)
    gradient = weight.new_empty(channels * inputs, height * width)
    gradient.copy_(rearrange(w, "k l n c -> (n c) (k l)"))
    return rearrange(gradient, "(n c) (k l) -> n c k l", n=channels, k=height)


def _library_gradients(
    gradient: Tensor, maps: Tensor, weight: Tensor, tiling: Tiling, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    sides = (tiling.rows, tiling.columns)
    stride, padding = [side.stride for side in sides], [side.padding for side in sides]
    return torch.ops.aten.convolution_backward(
        gradient, maps, weight, [len(weight)], stride, padding, [1, 1], False, [0, 0], 1, list(wanted)
    )
