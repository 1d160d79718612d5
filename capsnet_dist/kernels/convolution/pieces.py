"""Phases of a convolution, cut into tiles and brought to the factors of their products.

Positions come before samples and channels here, so that cutting out copies whole rows of numbers.
"""

import itertools
import math
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.convolution import combine
from capsnet_dist.kernels.convolution.tiling import Phases, Tiling
from capsnet_dist.kernels.convolution.transforms import Algorithm, Transform, algorithm
from capsnet_dist.kernels.scratch import scratch


class Factors(NamedTuple):
    """One factor of each product of a piece: made where it is asked for, at a point of the rows, or known."""

    transform: Transform
    """What makes them."""
    columns: int
    """Channels of all phases of the piece, or of the output."""
    tiles: Float[Tensor, "y x sc"] | None
    """Out of what they are made; None: they are known."""
    room: Float[Tensor, "m sc"] | None
    """For all of them; None: each thread has scratch memory, for those at one point."""
    use: str
    """Of the scratch memory."""

    def at(self, point: int) -> Float[Tensor, "m s c"]:
        """Those at a point of the rows, by its number in the piece."""
        if self.room is not None:
            factors = self.room.split(self.transform.sizes)[point]
        else:
            assert self.tiles is not None
            factors = scratch(self.use, self.tiles, self.transform.sizes[point], self.tiles.shape[2])
        if self.tiles is not None:
            self.transform.factors(self.tiles, point, factors)
        return rearrange(factors, "m (s c) -> m s c", c=self.columns)

    def known(self) -> "Factors":
        """The same, once all of them were made where there is room."""
        return self._replace(tiles=None)


class Piece(NamedTuple):
    """Phases that have the same matrices.

    Axes: tile `k l` and its position `y x`, tap `t u`, phase `p q`, sample `b` and channel `c`, output channel `n`.
    Of the factors of a product `m`: `s` = (k l b), and the channels of all phases of the piece, (p q c).
    """

    tiling: Tiling
    rows: Phases
    columns: Phases
    algorithm: Algorithm

    def number(self, point: int, whole: Algorithm) -> int:
        """The number of a point of the rows here, from that in the algorithm of the longest phases; negative: none.

        Phases that are short have the last points of the rows, and the last products at each.
        """
        return point - len(whole.outputs.sizes) + len(self.algorithm.outputs.sizes)

    def slots(self, products: Float[Tensor, "m s n"], whole: Algorithm) -> list[Float[Tensor, "o s n"]]:
        """The products of these phases at one point of the rows after the other, out of those of the longest ones."""
        points, sizes = products.split(whole.outputs.sizes), self.algorithm.outputs.sizes
        return [at[-size:] for at, size in zip(points[-len(sizes) :], sizes, strict=True)]

    def inputs(self, maps: Float[Tensor, "h w b c"], *, keep: bool = False) -> Factors:
        """A x; whether with room for all of them."""
        windows = self.windows(maps)
        return self._factors(self.algorithm.inputs, windows, math.prod(windows.shape[-3:]), "input", keep)

    def taps(self, weight: Float[Tensor, "h w n c"]) -> Factors:
        """G w, by which products at the outputs are multiplied."""
        phases = rearrange(self.phases(weight), "t u n c p q -> t u n p q c")
        return self._factors(self.algorithm.taps, phases, math.prod(phases.shape[-3:]), "tap", keep=False)

    def turned_taps(self, weight: Float[Tensor, "h w c n"], *, keep: bool = False) -> Factors:
        """G w, by which A x is multiplied, its columns output channels; whether with room for all of them."""
        phases = rearrange(self.phases(weight), "t u c n p q -> t u p q c n")
        return self._factors(self.algorithm.taps, phases, phases.shape[-1], "tap", keep)

    def set_inputs(self, values: Float[Tensor, "o x k"], maps: Float[Tensor, "h w b c"]) -> None:
        """Add A^T of the values to the maps, each window where it was cut out; that of a single tile is overwritten."""
        windows = self.windows(maps)
        if self.tiling.tiles == 1:
            _write_tiles(self.algorithm.inputs, values, windows)
            return
        tiles = scratch("tiles", maps, *windows.shape)
        self.algorithm.inputs.tiles(values, tiles.flatten(2))
        for at in itertools.product(range(self.tiling.rows.tiles), range(self.tiling.columns.tiles)):
            windows[:, :, *at] += tiles[:, :, *at]  # one after the other, for they overlap

    def set_taps(self, values: Float[Tensor, "o x k"], weight: Float[Tensor, "h w n c"]) -> None:
        """Write G^T of the values to the taps of these phases, which are no others'."""
        phases = rearrange(self.phases(weight), "t u n c p q -> t u n p q c")
        _write_tiles(self.algorithm.taps, values, phases)

    def phases(self, maps: Float[Tensor, "h w b c"]) -> Float[Tensor, "y x b c p q"]:
        """Every stride-th row and column, from each phase on: a view."""
        (rows, columns, _), (y, x) = self.tiling, (self.rows, self.columns)
        return maps[y.first :, x.first :].unfold(0, y.number, rows.stride).unfold(1, x.number, columns.stride)

    def windows(self, maps: Float[Tensor, "h w b c"]) -> Float[Tensor, "y x k l b p q c"]:
        """What each tile sees of each phase: a view."""
        (rows, columns, _), (y, x) = self.tiling, (self.rows, self.columns)
        tiles = self.phases(maps).unfold(0, y.points, rows.tile).unfold(1, x.points, columns.tile)
        return rearrange(tiles[: rows.tiles, : columns.tiles], "k l b c p q y x -> y x k l b p q c")

    def _factors(
        self, transform: Transform, tiles: Float[Tensor, "y x *sc"], columns: int, use: str, keep: bool
    ) -> Factors:
        if not tiles[0, 0].is_contiguous():
            tiles = scratch(f"{use} tiles {self.rows.first} {self.columns.first}", tiles, *tiles.shape).copy_(tiles)
        flat = tiles.flatten(2)
        room = flat.new_empty(sum(transform.sizes), flat.shape[2]) if keep else None
        if room is not None and combine.fits(room, room.shape[1]):  # all points while a run of the tiles is in cache
            transform.all_factors(flat, room)
            return Factors(transform, columns, None, room, f"{use} factors")
        return Factors(transform, columns, flat, room, f"{use} factors")


def _write_tiles(transform: Transform, values: Float[Tensor, "o x k"], target: Float[Tensor, "y x *sc"]) -> None:
    """Write the tiles of the values where no two of them overlap."""
    if target[0, 0].is_contiguous():
        transform.tiles(values, target.flatten(2))
        return
    tiles = scratch("tiles", target, *target.shape)
    transform.tiles(values, tiles.flatten(2))
    target.copy_(tiles)


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


def turned_first(weight: Float[Tensor, "n c k l"]) -> Float[Tensor, "k l c n"]:
    """Positions before channels, output channels last: a copy in scratch memory."""
    outputs, channels, rows, columns = weight.shape
    matrix = scratch("turned weight", weight, channels * rows * columns, outputs)
    matrix.copy_(rearrange(weight, "n c k l -> (c k l) n"))  # of two axes: PyTorch is fast at transposing a matrix
    first = scratch("weight", weight, rows * columns, channels, outputs)
    first.copy_(rearrange(matrix, "(c k) n -> k c n", c=channels))  # whole rows
    return rearrange(first, "(k l) c n -> k l c n", k=rows)


def padded(maps: Float[Tensor, "b c h w"], tiling: Tiling) -> Float[Tensor, "y x b c"]:
    """With zeros around, and more after the last where tiles are cut short."""
    rows, columns, _ = tiling
    zeros = (columns.padding, columns.missing, rows.padding, rows.missing)
    first = positions_first("maps", maps)
    return torch.nn.functional.pad(first, (0, 0, 0, 0, *zeros)) if any(zeros) else first


def empty_where_written(maps: Float[Tensor, "h w b c"], tiling: Tiling) -> Float[Tensor, "h w b c"]:
    """Zeros, but for what a single tile sees: what is written there overwrites, and is added to all else."""
    height, width = (tiling.rows.extent, tiling.columns.extent) if tiling.tiles == 1 else (0, 0)
    maps[height:] = 0
    maps[:height, width:] = 0
    return maps
