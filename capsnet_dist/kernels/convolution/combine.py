"""Transforms in loops of our own, where numba and registers of 16 numbers are; `transforms` has their plain twins."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels import backends
from capsnet_dist.kernels.scratch import flat_array, scratch
from capsnet_dist.kernels.threads import share

BLOCK = 128  # numbers of a row that are in registers at a time
RUN = 512  # numbers of each row between the steps of a transform: 200 KB for 10 x 10 points, in the second cache


class Steps(NamedTuple):
    """From tiles to factors at some real points of the rows, and then at some of the pairs of complex ones."""

    rows: Float[Tensor, "n y"]
    """From the rows to their values: at the real points, then both parts at one of each pair."""
    single: Float[Tensor, "m x"]
    """From the values at a real point to the factors there."""
    double: Float[Tensor, "o twox"]
    """From both parts of the values at a complex point to the factors there."""
    real: int
    """Real points."""
    pairs: int
    """Pairs of complex ones."""


def fits(like: Tensor, length: int) -> bool:
    """Whether there are loops for rows of such numbers, and so many: float32 on a CPU with AVX-512."""
    return length >= BLOCK and backends.has_wide_lanes(like)


def combine(
    matrix: Float[Tensor, "n y"], source: Float[Tensor, "y x k"], target: Float[Tensor, "n x k"], *, shared: bool
) -> None:
    """target = matrix source for each x.

    Args:
        matrix: In any order.
        source: Of which only `k` need be contiguous.
        target: Likewise.
        shared: Whether threads share the work, which else is that of one.
    """
    from capsnet_dist.kernels.convolution import llvm_combine_loops

    loops: Any = llvm_combine_loops
    arrays = (
        flat_array(matrix),
        *matrix.stride(),
        flat_array(source),
        *source.stride()[:2],
        flat_array(target),
        *target.stride()[:2],
    )
    sizes = *matrix.shape, source.shape[1]
    _cut(lambda start, stop: loops.combine_columns(*arrays, *sizes, start, stop), source.shape[2], BLOCK, shared)


def evaluate(steps: Steps, tiles: Float[Tensor, "y x k"], factors: Float[Tensor, "m k"], *, shared: bool) -> None:
    """Overwrite the factors at some points of the rows.

    Args:
        steps: Which points.
        tiles: Of which only `k` need be contiguous.
        factors: Those at one point after the other.
        shared: Whether threads share the work, which else is that of one.
    """
    from capsnet_dist.kernels.convolution import llvm_combine_loops

    loops: Any = llvm_combine_loops
    height, width, length = tiles.shape
    arrays = (
        flat_array(tiles),
        *tiles.stride()[:2],
        height,
        width,
        *(flat_array(matrix) for matrix in steps[:3]),
        *steps[3:],
    )
    target = flat_array(factors), factors.stride(0)

    def work(start: int, stop: int) -> None:
        values = scratch("values of a run", tiles, len(steps.rows) * width * RUN).numpy()
        loops.factors(*arrays, *target, start, stop, values)

    _cut(work, length, RUN, shared)


def _cut(work: Callable[[int, int], None], length: int, unit: int, shared: bool) -> None:
    """Do the numbers from 0 to a length: all at once, or in pieces that threads share, none of them below a unit."""
    if not shared:
        work(0, length)
        return
    units = max(1, length // unit)
    share(lambda start, stop: work(start * unit, length if stop == units else stop * unit), units)
