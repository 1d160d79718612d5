"""The layout of the bilinear convolution in panels of 32 channels, as its loops see it.

A panel is rows x 32 numbers. Of the factors of a product, samples are the rows, those of one tile after the other; of a
weight, the channels on its other side. Sizes that do not fill tiles are filled up by zeros.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from capsnet_dist.kernels import backends
from capsnet_dist.kernels.convolution.pieces import Piece, positions_first
from capsnet_dist.kernels.convolution.tiling import Tiling
from capsnet_dist.kernels.convolution.transforms import Transform
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import share

CHANNELS = 32  # of a panel
ROWS = 8  # samples that a tile of products has
FEWEST_TAPS = 8  # which are turned at a time
MOST_ZEROS = 1.5  # multiply-adds of full tiles, for each one that is needed

DEPTH = 128  # terms that are summed up in registers before they are added to a sum, for smaller errors
GROUP = 10  # factors of taps at a time: 32 KB each, for two panels
SAMPLES = 16  # between the steps of a transform: 200 KB for 10 x 10 points, in the second cache
PAD = 32  # numbers between rows, which else would fall into the same few sets of a cache
RUN = CHANNELS * SAMPLES + PAD  # from one of the rows between these steps to the next

HEIGHT, WIDTH, REAL, PAIRS, ROW_MATRIX, SINGLE, DOUBLE = range(7)  # of a transform: sizes, and where its matrices begin
INPUTS, STEP, TAPS, KNOWN = range(4)  # of a phase: where its factors and its taps begin, and from product to product


def fits(maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "n c k l"]) -> bool:
    """Whether there are loops, for float32 and registers of 16, and few zeros fill up the tiles."""
    sizes = ((len(maps), ROWS), (maps.shape[1], CHANNELS), (len(weight), CHANNELS))
    needed, full = math.prod(size for size, _ in sizes), math.prod(_full(size, unit) for size, unit in sizes)
    return full <= MOST_ZEROS * needed and weight[0, 0].numel() >= FEWEST_TAPS and backends.has_wide_lanes(maps)


def full_maps(
    maps: Float[Tensor, "b c h w"], zeros: tuple[int, int, int, int]
) -> Float[Tensor, "y x samples channels"]:
    """Positions first, with zeros before and after columns and rows, and samples and channels of full tiles."""
    batch, channels = maps.shape[:2]
    more = (0, _full(channels, CHANNELS) - channels, 0, _full(batch, ROWS) - batch, *zeros)
    first = positions_first("maps", maps)
    return pad(first, more) if any(more) else first.contiguous()


def full_weight(weight: Float[Tensor, "n c k l"]) -> Float[Tensor, "outputs inputs t"]:
    """With channels of full panels."""
    outputs, channels = weight.shape[:2]
    more = (0, 0, 0, _full(channels, CHANNELS) - channels, 0, _full(outputs, CHANNELS) - outputs)
    flat = rearrange(weight.detach(), "n c k l -> n c (k l)")
    return pad(flat, more) if any(more) else flat.contiguous()


def _full(number: int, unit: int) -> int:
    return -(-number // unit) * unit


def table(transforms: list[Transform]) -> tuple[Any, Int[np.ndarray, "t 7"]]:
    """The matrices of transforms in one array, and for each its sizes and where they begin."""
    matrices: list[Tensor] = []
    rows: list[list[int]] = []
    at = 0
    for rows_, single, double, sizes in transforms:
        real = sizes.count(len(single))
        starts = [at + single.numel() + double.numel(), at, at + single.numel()]
        rows.append([rows_.shape[1], single.shape[1], real, len(sizes) - real, *starts])
        matrices += [single, double, rows_]
        at = starts[0] + rows_.numel()
    return torch.cat([matrix.flatten() for matrix in matrices]).numpy(), np.array(rows)


def phases(parts: list[Piece], samples: int, channels: int, tap: int) -> Int[np.ndarray, "p 4"]:
    """Where each phase begins: see `INPUTS` and the others.

    Args:
        parts: All pieces, which have phases that share their matrices.
        samples: Of all tiles.
        channels: Of the maps.
        tap: Numbers of each tap in the panels that a thread works on.
    """
    found: list[list[int]] = []
    inputs = known = 0
    for piece in parts:
        (y, x), products = (piece.rows, piece.columns), sum(piece.algorithm.inputs.sizes)
        for phase, (p, q) in enumerate(itertools.product(range(y.number), range(x.number))):
            number = (y.first + p) * piece.tiling.columns.kernel + x.first + q
            at = inputs + phase * samples * channels
            found.append([at, step(piece, samples * channels), number * tap, known])
            known += products * CHANNELS * channels
        inputs += products * step(piece, samples * channels)
    return np.array(found)


def step(piece: Piece, size: int) -> int:
    """From the transformed input of a product to that of the next, where that of each phase has so many numbers."""
    return phase_count(piece) * size + PAD


def phase_count(piece: Piece) -> int:
    """Phases that have the same matrices."""
    return piece.rows.number * piece.columns.number


class Windows(NamedTuple):
    """What tiles see of maps, positions first."""

    maps: Any
    """The maps as a flat array."""
    starts: Int[np.ndarray, "phases tiles"]
    """Where each begins."""
    y: int
    """From one row to the next."""
    x: int
    """From one column to the next."""
    sample: int
    """From one sample to the next."""
    batch: int
    """Samples."""


def input_windows(maps: Float[Tensor, "h w b c"], piece: Piece) -> Windows:
    """Of the maps that are convolved, for each phase of a piece."""
    (rows, columns, _), (y, x) = piece.tiling, (piece.rows, piece.columns)
    corners = itertools.product(range(y.first, y.first + y.number), range(x.first, x.first + x.number))
    return _windows(maps, piece.tiling, list(corners), (rows.stride, columns.stride))


def output_windows(maps: Float[Tensor, "y x b n"], tiling: Tiling) -> Windows:
    """Of the maps that come out."""
    return _windows(maps, tiling, [(0, 0)], (1, 1))


def _windows(maps: Tensor, tiling: Tiling, corners: list[tuple[int, int]], stride: tuple[int, int]) -> Windows:
    height, width, sample, _ = maps.stride()
    y, x = height * stride[0], width * stride[1]
    sides = itertools.product(range(tiling.rows.tiles), range(tiling.columns.tiles))
    tiles = np.array([row * tiling.rows.tile * y + column * tiling.columns.tile * x for row, column in sides])
    starts = np.add.outer(np.array([row * height + column * width for row, column in corners]), tiles)
    return Windows(maps.detach().flatten().numpy(), starts, y, x, sample, maps.shape[2])


def evaluate(transform: Transform, windows: Windows, channels: int, factors: Float[Tensor, " mcs"], step: int) -> None:
    """Overwrite the factors of windows at all points, from one product to the next a step; threads share samples."""
    from capsnet_dist.kernels.convolution import llvm_panel_layout_loops

    loops: Any = llvm_panel_layout_loops
    (matrices, of), target = table([transform]), factors.numpy()

    def work(start: int, stop: int) -> None:
        size = len(transform.rows) * transform.single.shape[1] * RUN + 2 * CHANNELS * ROWS * transform.rows.shape[1]
        values = scratch("values of a run", factors, size).numpy()
        loops.factors(*windows, channels, matrices, of[0], target, step, start, stop, values)

    share(work, -(-windows.batch // SAMPLES))
