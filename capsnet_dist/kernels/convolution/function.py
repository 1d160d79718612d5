"""The bilinear convolution as a function with gradients."""

from typing import Any, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.convolution import combine, panel_products, panels
from capsnet_dist.kernels.convolution.pieces import (
    Factors,
    Piece,
    empty_where_written,
    padded,
    pieces,
    positions_first,
    turned_first,
)
from capsnet_dist.kernels.convolution.tiling import Tiling
from capsnet_dist.kernels.convolution.transforms import Transform
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import at_once

Transformed = list[Factors] | Tensor
"""G w of all phases, by matrix products or in panels."""


def convolve(
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    bias: Float[Tensor, " n"],
    tiling: Tiling,
    transformed: Transformed | None = None,
) -> Float[Tensor, "b n y x"]:
    """The convolution; `transformed` is what `transform_weight` gave for such maps and this weight, if it was kept."""
    kept: list[Any] | None = [] if torch.is_grad_enabled() and weight.requires_grad else None
    found: Any = BilinearConvolution.apply(maps, weight, bias, tiling, transformed, kept)
    return rearrange(found, "y x b n -> b n y x")  # out here, so that what follows may overwrite it


class BilinearConvolution(torch.autograd.Function):
    """y = C [sum over phases of (A x) (G w)] + bias: each product is a matrix product over samples and channels.

    Both gradients have the same form. Whoever transforms the factors at a point of the rows multiplies them, too: only
    what was added up over the points goes from thread to thread. The transformed input is kept for backward: in the
    paper's network it takes 1.3 times the memory of the input. The weight is transformed again: kept, it would take six
    times its own memory. Where sizes and processor allow, `panel_products` computes the same.
    """

    @staticmethod
    def forward(
        maps: Float[Tensor, "b c h w"],
        weight: Float[Tensor, "n c k l"],
        bias: Float[Tensor, " n"],
        tiling: Tiling,
        transformed: Transformed | None,
        kept: list[Any] | None,
    ) -> Float[Tensor, "y x b n"]:
        """The convolution, positions first; `kept` gets the transformed input of each piece."""
        if panels.fits(maps, weight):
            assert not isinstance(transformed, list)
            return panel_products.convolve(maps, weight, bias, tiling, transformed, kept)
        assert not isinstance(transformed, Tensor)
        parts, samples = pieces(tiling, maps), len(maps) * tiling.tiles
        whole = parts[0].algorithm
        products = scratch("products", maps, sum(whole.outputs.sizes), samples, len(weight))
        values = whole.outputs.empty(maps, samples * len(weight), "values of outputs")
        x = padded(maps, tiling)
        at_once_pays = combine.fits(maps, samples * maps.shape[1])
        inputs = [piece.inputs(x, keep=kept is not None or at_once_pays) for piece in parts]
        taps = transformed or _taps(weight, parts)
        slots = [piece.slots(products, whole) for piece in parts]

        def multiply(point: int) -> None:
            for piece, of_piece, of_inputs, of_taps in zip(parts, slots, inputs, taps, strict=True):
                if (number := piece.number(point, whole)) < 0:
                    continue
                factors = of_inputs.at(number), of_taps.at(number)
                if piece is parts[0]:  # it has all products
                    torch.bmm(*factors, out=of_piece[number])
                else:
                    of_piece[number].baddbmm_(*factors)
            whole.outputs.add_up(slots[0][point].flatten(1), point, values)

        at_once(multiply, _largest_first(whole.outputs), maps.device)
        if kept is not None:
            kept += [factors.known() for factors in inputs]
        tiles = scratch("tiles", maps, tiling.rows.tile, tiling.columns.tile, samples * len(weight))
        whole.outputs.tiles(values, tiles)
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
        find = panel_products.gradients if panels.fits(maps, weight) else _gradients
        by_maps, by_weight = find(gradient, maps, weight, ctx.tiling, ctx.kept or [], wanted)
        return by_maps, by_weight, gradient.sum(dim=(0, 2, 3)) if wanted[2] else None, None, None, None


def transform_weight(maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "n c k l"], tiling: Tiling) -> Transformed:
    """G w of all phases, for maps of these sizes and for as long as the weight stays as it is."""
    if panels.fits(maps, weight):
        return panel_products.transform_weight(weight, tiling)
    taps = _taps(weight, pieces(tiling, weight), keep=True)
    for factors in taps:
        at_once(factors.at, _largest_first(factors.transform), weight.device)
    return [factors.known() for factors in taps]


def _taps(weight: Float[Tensor, "n c k l"], parts: list[Piece], *, keep: bool = False) -> list[Factors]:
    """G w of all pieces, turned: MKL is a third faster where neither factor of a product is transposed."""
    first = turned_first(weight)
    return [piece.turned_taps(first, keep=keep) for piece in parts]


def _largest_first(transform: Transform) -> list[int]:
    """Points of the rows by their products."""
    return sorted(range(len(transform.sizes)), key=lambda point: -transform.sizes[point])


def _output_factors(gradient: Float[Tensor, "b n y x"], piece: Piece) -> Float[Tensor, "m s n"]:
    """C^T dy."""
    rows, columns, _ = piece.tiling
    ragged = (columns.tiles * columns.tile - columns.outputs, rows.tiles * rows.tile - rows.outputs)
    if any(ragged):
        gradient = torch.nn.functional.pad(gradient, (0, ragged[0], 0, ragged[1]))
    tiles = rearrange(gradient, "b n (k y) (l x) -> y x (k l b n)", y=rows.tile, x=columns.tile)
    outputs = piece.algorithm.outputs
    factors = scratch("products", tiles, sum(outputs.sizes), tiles.shape[2])
    slots = factors.split(outputs.sizes)
    at_once(lambda point: outputs.factors(tiles, point, slots[point]), _largest_first(outputs), tiles.device)
    return rearrange(factors, "m (s n) -> m s n", n=gradient.shape[1])


class Term(NamedTuple):
    """What a point of the rows of a piece adds to a gradient: the transpose of a transform, of products of factors."""

    point: int
    """Its number in the piece."""
    left: Float[Tensor, "m a k"]
    """Factors there."""
    right: Factors
    """The others."""
    transform: Transform
    """Whose transpose."""
    values: Float[Tensor, "n x ac"]
    """Where to."""

    def add_up(self) -> None:
        """Overwrite the values at this point."""
        right = self.right.at(self.point)
        product = scratch("product", right, *self.left.shape[:2], right.shape[2])
        torch.bmm(self.left, right, out=product)
        self.transform.add_up(product.flatten(1), self.point, self.values)


def _gradients(
    gradient: Float[Tensor, "b n y x"],
    maps: Float[Tensor, "b c h w"],
    weight: Float[Tensor, "n c k l"],
    tiling: Tiling,
    kept: list[Factors],
    wanted: tuple[bool, ...],
) -> tuple[Float[Tensor, "b c h w"] | None, Float[Tensor, "n c k l"] | None]:
    """A^T [(C^T dy) (G w)] and G^T [(C^T dy) (A x)].

    The inputs that were kept are given up, piece by piece; a second time they are made again.
    """
    parts, (rows, columns, _) = pieces(tiling, maps), tiling
    products = _output_factors(gradient, parts[0])
    w = positions_first("weight", weight.contiguous())  # a copy, which becomes the gradient piece by piece
    x = padded(maps, tiling) if wanted[1] and not kept else None
    sides = [side.padding + side.length + side.missing for side in (rows, columns)]
    by_maps = empty_where_written(maps.new_empty(*sides, *maps.shape[:2]), tiling) if wanted[0] else None
    for piece in parts:
        slots = piece.slots(products, parts[0].algorithm)
        to_maps, to_weight = piece.algorithm.inputs, piece.algorithm.taps
        channels = piece.rows.number * piece.columns.number * maps.shape[1]
        of_maps = of_weight = None
        terms: list[Term] = []
        if wanted[0]:
            of_maps, taps = to_maps.empty(maps, products.shape[1] * channels, "values of inputs"), piece.taps(w)
            terms += [Term(n, slot, taps, to_maps, of_maps) for n, slot in enumerate(slots)]
        if wanted[1]:
            of_weight = to_weight.empty(weight, len(weight) * channels, "values of taps")
            inputs = piece.inputs(x) if x is not None else kept.pop(0)
            terms += [Term(n, slot.mT, inputs, to_weight, of_weight) for n, slot in enumerate(slots)]
        at_once(Term.add_up, sorted(terms, key=lambda term: -len(term.left)), maps.device)
        if by_maps is not None and of_maps is not None:
            piece.set_inputs(of_maps, by_maps)
        if of_weight is not None:
            piece.set_taps(of_weight, w)  # in place of the taps, which nobody needs again
    if by_maps is not None:
        inner = by_maps[rows.padding :, columns.padding :][: rows.length, : columns.length]
        by_maps = rearrange(inner, "h w b c -> b c h w")
    if not wanted[1]:
        return by_maps, None
    by_weight = weight.new_empty(weight[:, :, 0, 0].numel(), weight[0, 0].numel())
    by_weight.copy_(rearrange(w, "k l n c -> (n c) (k l)"))  # of two axes: PyTorch is fast at transposing a matrix
    return by_maps, by_weight.view(weight.shape)


def _library_gradients(
    gradient: Tensor, maps: Tensor, weight: Tensor, tiling: Tiling, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    sides = (tiling.rows, tiling.columns)
    stride, padding = [side.stride for side in sides], [side.padding for side in sides]
    return torch.ops.aten.convolution_backward(
        gradient, maps, weight, [len(weight)], stride, padding, [1, 1], False, [0, 0], 1, list(wanted)
    )
