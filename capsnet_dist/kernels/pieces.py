"""Phases of a convolution, cut into tiles and brought to the factors of their products.

Positions come before samples and channels here, so that cutting out copies whole rows of numbers.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.bilinear import Algorithm, algorithm
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.tiling import Phases, Tiling


class Piece(NamedTuple):
    """Phases that have the same matrices.

    Axes: tile `k l` and its position `y x`, tap `t u`, phase `p q`, sample `b` and channel `c`, output channel `n`.
    Of the factors of a product `m`: `s` = (k l b), and the channels of all phases of the piece, (p q c).
    """

    tiling: Tiling
    rows: Phases
    columns: Phases
    algorithm: Algorithm

    def inputs(self, maps: Float[Tensor, "h w b c"], *, keep: bool = False) -> Iterator[Float[Tensor, "m s pqc"]]:
        """A x, at one point of the rows after the other, each where the one before was unless they are to be kept."""
        values = self.algorithm.inputs.values(self._together(self.windows(maps)), "input values")
        channels = self.rows.number * self.columns.number * maps.shape[3]
        for factors in self.algorithm.inputs.factors(values, None if keep else "inputs"):
            yield rearrange(factors, "m (s c) -> m s c", c=channels)

    def taps(self, weight: Float[Tensor, "h w n c"]) -> Iterator[Float[Tensor, "m n pqc"]]:
        """G w, at one point of the rows after the other, each where the one before was."""
        phases = rearrange(self.phases(weight), "t u n c p q -> t u n p q c")
        values = self.algorithm.taps.values(self._together(phases), "tap values")
        for factors in self.algorithm.taps.factors(values, "taps"):
            yield rearrange(factors, "m (n c) -> m n c", n=weight.shape[2])

    def set_inputs(self, values: Float[Tensor, "o x k"], maps: Float[Tensor, "h w b c"]) -> None:
        """Add A^T of the values to the maps, each window where it was cut out; where there is one, overwrite it."""
        windows = self.windows(maps)
        if windows[0, 0].is_contiguous():
            self.algorithm.inputs.tiles(values, windows.flatten(2))
            return
        tiles = scratch("tiles", maps, *windows.shape)
        self.algorithm.inputs.tiles(values, tiles.flatten(2))
        for at in itertools.product(range(self.tiling.rows.tiles), range(self.tiling.columns.tiles)):
            windows[:, :, *at] += tiles[:, :, *at]  # one after the other, for they overlap

    def set_taps(self, values: Float[Tensor, "o x k"], weight: Float[Tensor, "h w n c"]) -> None:
        """Write G^T of the values to the taps of these phases, which are no others'."""
        phases = rearrange(self.phases(weight), "t u n c p q -> t u n p q c")
        if phases[0, 0].is_contiguous():
            self.algorithm.taps.tiles(values, phases.flatten(2))
            return
        tiles = scratch("tiles", weight, *phases.shape)
        self.algorithm.taps.tiles(values, tiles.flatten(2))
        phases.copy_(tiles)

    def phases(self, maps: Float[Tensor, "h w b c"]) -> Float[Tensor, "y x b c p q"]:
        """Every stride-th row and column, from each phase on: a view."""
        (rows, columns, _), (y, x) = self.tiling, (self.rows, self.columns)
        return maps[y.first :, x.first :].unfold(0, y.number, rows.stride).unfold(1, x.number, columns.stride)

    def windows(self, maps: Float[Tensor, "h w b c"]) -> Float[Tensor, "y x k l b p q c"]:
        """What each tile sees of each phase: a view."""
        (rows, columns, _), (y, x) = self.tiling, (self.rows, self.columns)
        tiles = self.phases(maps).unfold(0, y.points, rows.tile).unfold(1, x.points, columns.tile)
        return rearrange(tiles[: rows.tiles, : columns.tiles], "k l b c p q y x -> y x k l b p q c")

    def slots(self, products: Float[Tensor, "m s n"], whole: Algorithm) -> tuple[Float[Tensor, "o s n"], ...]:
        """Where the products of these phases go, at one point of the rows after the other.

        Args:
            products: Those of the whole.
            whole: The algorithm that has all products; phases that are short have the last points of the rows, and the
                last products at each.
        """
        all_sizes, sizes = whole.outputs.sizes, self.algorithm.outputs.sizes
        points = products.split(all_sizes)[len(all_sizes) - len(sizes) :]
        return tuple(at[len(at) - size :] for at, size in zip(points, sizes, strict=True))

    def _together(self, tiles: Float[Tensor, "y x *k"]) -> Float[Tensor, "y x k"]:
        """All that is at each position as one axis: as it is where that can be, else a copy in scratch memory."""
        if not tiles[0, 0].is_contiguous():
            tiles = scratch("tiles", tiles, *tiles.shape).copy_(tiles)
        return tiles.flatten(2)


def pieces(tiling: Tiling, like: Tensor) -> list[Piece]:
    """All phases, and the matrices in the type of a tensor; the first piece, the longest phases, has all products."""
    rows, columns, kind = tiling
    tile, taps = (rows.tile, columns.tile), (rows.taps, columns.taps)
    return [
        Piece(tiling, y, x, algorithm(tile, taps, (y.short, x.short), kind, like.dtype, like.device))
        for y, x in itertools.product(rows.phases, columns.phases)
    ]


def positions_first(use: str, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "h w b c"]:
    """Positions before samples and channels: a copy in scratch memory of that use if they come after."""
    if not maps.is_contiguous():
        return rearrange(maps, "b c h w -> h w b c")
    batch, _, height, _ = maps.shape
    flat = rearrange(maps, "b c h w -> (h w) (b c)")
    copy = scratch(use, maps, *flat.shape).copy_(flat)  # of two axes: PyTorch is fast at transposing a matrix
    return rearrange(copy, "(h w) (b c) -> h w b c", h=height, b=batch)


def padded(maps: Float[Tensor, "b c h w"], tiling: Tiling) -> Float[Tensor, "y x b c"]:
    """With zeros around, and more after the last where tiles are cut short."""
    rows, columns, _ = tiling
    zeros = (columns.padding, columns.missing, rows.padding, rows.missing)
    first = positions_first("maps", maps)
    return torch.nn.functional.pad(first, (0, 0, 0, 0, *zeros)) if any(zeros) else first
