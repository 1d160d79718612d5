"""Convolution with few products: evaluate at points, multiply, interpolate (Toom, 1963; Cook, 1966; Winograd, 1980).

Two polynomials are multiplied through their values at as many points as the product has coefficients. Transposed, the
same says how a filter g of r taps gives m outputs y_k = sum_t g_t x_(k+t): with n = m + r - 1 points and V_k[s, t] =
point_s^t for t < k, it is y = C [(G g) * (A x)], where G = V_r, C = V_m^T, A = V_n^-T (Winograd: F(m, r)). In two
dimensions each is applied to the rows, then to the columns.

Complex points come in conjugate pairs. Products at one of the two give those at the other, and one complex product is
three real ones (Gauss): (xr + i xi)(wr + i wi) = (p - r) + i (p + q) with p = (xr + xi) wr, q = xr (wi - wr) and
r = xi (wr + wi). So all matrices are real.
"""

import cmath
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
from einops import rearrange
from jaxtyping import Complex128, Float
from torch import Tensor

from capsnet_dist.kernels.convolution import combine
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import at_once

Points = Literal["accurate", "loose"]
"""Where to evaluate. "accurate": on the unit circle, at zero and at infinity, with float32 errors of 1e-7 to 3e-7 (root
of mean squares, relative to the result). "loose": at real numbers first, with up to a quarter fewer products and errors
of up to 1.3e-6. The sum itself has 1e-7 to 6e-7, and less where it has few terms, as for small tiles."""

PARTS = 16  # of a transform, each a matrix product of its own: small ones are faster than one that is wide

INFINITY = complex("inf")
"""The value of a polynomial there is its last coefficient."""


class Transform(NamedTuple):
    """A linear map from a tile to one factor of each product: along the rows, then along the columns.

    Products at real points of the rows come first, those at zero before all others; the same for columns within each.
    """

    rows: Float[Tensor, "n y"]
    """Values at the points of the rows: first at the real ones, then both parts at one of each pair."""
    single: Float[Tensor, "m x"]
    """From the values at a real point of the rows to the products there."""
    double: Float[Tensor, "o twox"]
    """From both parts of the values at a complex point of the rows to the products there."""
    sizes: list[int]
    """Products at each point of the rows."""

    def at(self, point: int) -> tuple[slice, Float[Tensor, "m nx"]]:
        """Which of the values belong to a point of the rows, and the matrix from them to the factors there."""
        if point < self.num_real:
            return slice(point, point + 1), self.single
        return slice(2 * point - self.num_real, 2 * point - self.num_real + 2), self.double

    @property
    def num_real(self) -> int:
        """Real points of the rows."""
        return self.sizes.count(len(self.single))

    def all_factors(self, tiles: Float[Tensor, "y x k"], factors: Float[Tensor, "m k"]) -> None:
        """Overwrite the factors at all points of the rows; of the tiles only `k` need be contiguous."""
        if combine.fits(factors, factors.shape[1]):
            pairs = len(self.sizes) - self.num_real
            steps = combine.Steps(self.rows, self.single, self.double, self.num_real, pairs)
            combine.evaluate(steps, tiles, factors, shared=True)
            return
        at = factors.split(self.sizes)
        at_once(lambda point: self.factors(tiles, point, at[point]), range(len(at)), tiles.device)

    def factors(self, tiles: Float[Tensor, "y x k"], point: int, factors: Float[Tensor, "m k"]) -> None:
        """Overwrite the factors at a point of the rows; of the tiles only `k` need be contiguous."""
        which, matrix = self.at(point)
        rows = self.rows[which]
        if combine.fits(factors, factors.shape[1]):
            real = int(point < self.num_real)
            steps = combine.Steps(rows, self.single, self.double, real, 1 - real)
            combine.evaluate(steps, tiles, factors, shared=False)
            return
        values = scratch("values at a point", tiles, len(rows), *tiles.shape[1:])
        _each_column(rows, tiles, values)
        transform(matrix, values.flatten(0, 1), factors)

    def add_up(self, factors: Float[Tensor, "m k"], point: int, values: Float[Tensor, "n x k"]) -> None:
        """The transpose, first half: from the factors at a point of the rows, overwrite the values there."""
        which, matrix = self.at(point)
        transform(matrix.mT, factors, values[which].flatten(0, 1))

    def tiles(self, values: Float[Tensor, "n x k"], tiles: Float[Tensor, "y x k"]) -> None:
        """The transpose, second half: from all values, overwrite the tiles, of which only `k` need be contiguous."""
        if combine.fits(values, values.shape[2]):
            combine.combine(self.rows.mT, values, tiles, shared=True)
            return
        parts = math.gcd(values.shape[2], PARTS)
        chunks = zip(values.chunk(parts, dim=2), tiles.chunk(parts, dim=2), strict=True)
        at_once(lambda chunk: _each_column(self.rows.mT, *chunk), chunks, values.device)

    def empty(self, like: Tensor, number: int, use: str) -> Float[Tensor, "n x k"]:
        """Room for the values of so many tiles, in scratch memory of that use."""
        return scratch(use, like, len(self.rows), self.single.shape[1], number)


def transform(matrix: Float[Tensor, "m x"], source: Float[Tensor, "x k"], target: Float[Tensor, "m k"]) -> None:
    """target = matrix source, with `k` in parts."""
    if combine.fits(target, target.shape[1]):
        combine.combine(matrix, source[:, None], target[:, None], shared=False)
        return
    parts = math.gcd(source.shape[1], PARTS)
    torch.bmm(
        matrix.expand(parts, -1, -1),
        rearrange(source, "x (g k) -> g x k", g=parts),
        out=rearrange(target, "m (g k) -> g m k", g=parts),
    )


def _each_column(matrix: Float[Tensor, "n y"], source: Float[Tensor, "y x k"], target: Float[Tensor, "n x k"]) -> None:
    """target = matrix source for each x."""
    torch.bmm(matrix.expand(source.shape[1], -1, -1), rearrange(source, "y x k -> x y k"), out=target.transpose(0, 1))


class Algorithm(NamedTuple):
    """A, G and the transpose of C, for one tile of outputs of a filter.

    Filters that are a tap shorter do without the point zero: their products are the last ones at each point of the
    rows, and at the last points of the rows, so that all can be summed before C.
    """

    inputs: Transform
    """A: of what the tile sees."""
    taps: Transform
    """G: of the filter."""
    outputs: Transform
    """The transpose of C: of what the tile gives."""


def points(count: int, kind: Points) -> list[complex]:
    """The points of one dimension: zero, other real ones, and conjugate pairs side by side.

    >>> points(4, "accurate")
    [0j, (inf+0j), (1+0j), (-1+0j)]
    """
    if kind == "accurate":  # the roots of unity of even order, with zero, and infinity where their number needs it
        real = [0, INFINITY, 1, -1] if count % 2 == 0 else [0, 1, -1]
        num_pairs = max(0, (count - 3) // 2)
    else:  # real numbers as simple as can be: errors grow fast with more of them, unless complex ones are between
        real = [0, INFINITY, 1, -1, 0.5, -2, -0.5, 2]
        num_pairs = max(0, (count - 7) // 2, int(count > 6))
    roots = [cmath.exp(1j * cmath.pi * k / (num_pairs + 1)) for k in range(1, num_pairs + 1)]
    pairs = [root for above in roots for root in (above, above.conjugate())]
    return [complex(point) for point in real[: count - len(pairs)]] + pairs


@lru_cache(maxsize=256)
def algorithm(
    tile: tuple[int, int],
    taps: tuple[int, int],
    short: tuple[bool, bool],
    kind: Points,
    dtype: torch.dtype,
    device: torch.device,
) -> Algorithm:
    """The matrices for a tile of outputs.

    Args:
        tile: Its rows and columns.
        taps: Rows and columns of the longest filter.
        short: Whether this one has a row less, a column less.
        kind: Where to evaluate.
        dtype: What the matrices are rounded to, from float64.
        device: Where they lie.
    """
    at = [points(m + r - 1, kind)[less:] for m, r, less in zip(tile, taps, short, strict=True)]
    inputs = [_interpolating(side) for side in at]
    filters = [_powers(side, r - less) for side, r, less in zip(at, taps, short, strict=True)]
    outputs = [_powers(side, m) for side, m in zip(at, tile, strict=True)]
    num_real = [sum(point.imag == 0 for point in side) for side in at]
    return Algorithm(
        _transform(inputs, num_real, lambda x: [x.real + x.imag, x.real, x.imag], dtype, device),
        _transform(filters, num_real, lambda w: [w.real, w.imag - w.real, w.real + w.imag], dtype, device),
        # twice: each pair stands for its conjugate too
        _transform(outputs, num_real, lambda c: [2 * (c.real - c.imag), -2 * c.imag, -2 * c.real], dtype, device),
    )


def _transform(
    values: list[Complex128[Tensor, "_ _"]],
    num_real: list[int],
    factors: Callable[[Tensor], list[Tensor]],
    dtype: torch.dtype,
    device: torch.device,
) -> Transform:
    """Values at the points of rows and columns, real ones first, to factors of the products: three for complex ones."""
    (rows, columns), (real_rows, real_columns) = values, num_real
    upper = rows[real_rows::2]
    parts = rearrange([upper.real, upper.imag], "two n y -> (n two) y")
    pairs = rearrange(factors(columns[real_columns::2]), "three m x -> (m three) x")
    both = rearrange([columns, 1j * columns], "two n x -> n (two x)")
    matrices = [
        torch.cat([rows[:real_rows].real, parts]),
        torch.cat([columns[:real_columns].real, pairs]),
        rearrange(factors(both), "three n x -> (n three) x"),
    ]
    row, single, double = (matrix.to(device, dtype).contiguous() for matrix in matrices)
    return Transform(row, single, double, [len(single)] * real_rows + [len(double)] * len(upper))


def _powers(at: list[complex], length: int) -> Complex128[Tensor, "n length"]:
    """V_length: what each coefficient adds to the value at each point."""
    last = [0] * (length - 1) + [1]
    rows = [last if point == INFINITY else [point**k for k in range(length)] for point in at]
    return torch.tensor(rows, dtype=torch.complex128, device="cpu")


def _interpolating(at: list[complex]) -> Complex128[Tensor, "n n"]:
    """V_n^-T: how much of each value goes into each coefficient."""
    powers = _powers(at, len(at))
    scale = powers.abs().amax(dim=1, keepdim=True)  # rows of one size, else the inverse loses five of sixteen digits
    return torch.linalg.inv(powers / scale).mT / scale
