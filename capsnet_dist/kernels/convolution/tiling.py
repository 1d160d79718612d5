"""How a strided convolution falls into phases and tiles, and what it then costs."""

import itertools
from functools import lru_cache
from typing import Literal, NamedTuple

from capsnet_dist.kernels.convolution.transforms import Points, points

Convolution = Literal["auto", "direct", "bilinear", "bilinear_loose"]
"""How to convolve: as the library does, by the bilinear algorithm at accurate or loose points, or what is cheapest."""

# Costs in units of one multiply-add of the library's convolution. Measured once, by the processor time of alternating
# rounds on one core of an AMD EPYC (Zen 4, AVX-512; PyTorch 2.15 with MKL and oneDNN) in float32. They are constants,
# so that the same shapes are always convolved in the same way, on any machine with the same registers. Over twelve
# shapes with 16 to 256 channels and batches of 8 to 128 they predict what a step of training takes, in shares of the
# library's, to a third; in panels, on an Intel Xeon, over 26 shapes to 17 %, and nothing that they choose is slower.
PRODUCT = 1.2  # a multiply-add of the batched products: 40 against 49 thousand millions a second
TRANSFORM = 1.6  # of A, G and C: 31 thousand millions a second
WORD = 20.0  # a number that is written and read again: 2.5 thousand millions a second
CALL = 2e6  # one of the transforms with its products, apart from the arithmetic: 40 microseconds
GAIN = 1.5  # how much cheaper it must be: these costs are right to within a third
GAIN_IN_PANELS = 1.2  # the same for panels: the costs are right to within a sixth
STRIDED = 1.3  # times a multiply-add of the library's, where it has strides, beside panels
WIDEST = 12  # rows or columns of a tile: the error grows slowly with them


class Phases(NamedTuple):
    """Neighbouring phases of one side that have equally many taps: phase p has the taps p, p + stride, and so on."""

    first: int
    """The first of them."""
    number: int
    """How many they are."""
    short: bool
    """Whether they have one tap less than the others."""
    taps: int
    """Taps of each."""
    points: int
    """Inputs of each that one tile needs, which is its number of points too."""


class Side(NamedTuple):
    """The rows, or the columns, of a convolution, cut into tiles of outputs."""

    kernel: int
    """Taps."""
    stride: int
    """Step between windows."""
    padding: int
    """Zeros before the first input and after the last."""
    length: int
    """Inputs."""
    tile: int
    """Outputs of one tile; the last may be cut short."""

    @property
    def outputs(self) -> int:
        """Outputs of the convolution."""
        return (self.length + 2 * self.padding - self.kernel) // self.stride + 1

    @property
    def tiles(self) -> int:
        """Tiles that cover them."""
        return -(-self.outputs // self.tile)

    @property
    def taps(self) -> int:
        """Taps of the longest phase."""
        return -(-self.kernel // self.stride)

    @property
    def extent(self) -> int:
        """Inputs that full tiles see, the zeros around them included."""
        return (self.tiles * self.tile - 1) * self.stride + self.kernel

    @property
    def missing(self) -> int:
        """Zeros after the last input, for full tiles."""
        return max(0, self.extent - self.padding - self.length)

    @property
    def phases(self) -> list[Phases]:
        """The long phases, and the short ones where there are any."""
        num_points = self.tile + self.taps - 1
        num_long = self.kernel - self.stride * (self.taps - 1)
        phases = [Phases(0, num_long, False, self.taps, num_points)]
        if num_long < self.stride and self.taps > 1:
            phases.append(Phases(num_long, self.stride - num_long, True, self.taps - 1, num_points - 1))
        return phases


class Tiling(NamedTuple):
    """A convolution in tiles, at some kind of points."""

    rows: Side
    """Its rows."""
    columns: Side
    """Its columns."""
    points: Points
    """Where to evaluate."""

    @property
    def tiles(self) -> int:
        """Tiles of one image."""
        return self.rows.tiles * self.columns.tiles

    def cost(self, batch: int, inputs: int, outputs: int) -> float:
        """What it costs forward, with the weights to be transformed: see the constants above.

        Args:
            batch: Images.
            inputs: Channels before.
            outputs: Channels after.
        """
        samples = batch * self.tiles
        last = self._transform(0, self.rows.tile, 0, self.columns.tile) * samples * outputs
        total = last + WORD * self._num_products(0, 0) * samples * outputs
        for y, x in itertools.product(self.rows.phases, self.columns.phases):
            channels = y.number * x.number * inputs
            total += self._transform(y.short, y.points, x.short, x.points) * samples * channels
            total += self._transform(y.short, y.taps, x.short, x.taps) * outputs * channels
            total += PRODUCT * self._num_products(y.short, x.short) * samples * channels * outputs + CALL
        return total

    def _num_points(self, short_rows: int, short_columns: int) -> tuple[int, int, int, int]:
        """Real points and pairs of the rows and of the columns."""
        counts: list[int] = []
        for side, short in ((self.rows, short_rows), (self.columns, short_columns)):
            at = points(side.tile + side.taps - 1, self.points)[short:]
            real = sum(point.imag == 0 for point in at)
            counts += [real, (len(at) - real) // 2]
        return counts[0], counts[1], counts[2], counts[3]

    def _num_products(self, short_rows: int, short_columns: int) -> int:
        """Of one sample and channel: one where both points are real, else three for each two points."""
        real, pairs, real_columns, pairs_columns = self._num_points(short_rows, short_columns)
        return real * (real_columns + 3 * pairs_columns) + 3 * pairs * (real_columns + 2 * pairs_columns)

    def _transform(self, short_rows: int, height: int, short_columns: int, width: int) -> float:
        """Cost of one transform of one sample and channel."""
        real, pairs, real_columns, pairs_columns = self._num_points(short_rows, short_columns)
        between = (real + 2 * pairs) * width
        single, double = real_columns + 3 * pairs_columns, 3 * (real_columns + 2 * pairs_columns)
        arithmetic = between * height + (real * single + 2 * pairs * double) * width
        return TRANSFORM * arithmetic + WORD * (height * width + between + real * single + pairs * double)


@lru_cache(maxsize=1024)
def cheapest(
    rows: tuple[int, int, int, int],
    columns: tuple[int, int, int, int],
    batch: int,
    channels: tuple[int, int],
    algorithm: Convolution,
    *,
    in_panels: bool,
) -> Tiling | None:
    """The tiling that costs least, or None where the library's convolution is to be preferred.

    Args:
        rows: Kernel, stride, padding and length of one side.
        columns: The same of the other.
        batch: Images.
        channels: Before and after.
        algorithm: "auto" compares; "direct" is the library's; the others leave only the tiles to be chosen.
        in_panels: Whether `capsnet_dist.kernels.convolution.panels` does it.
    """
    too_wide = any(stride > kernel for kernel, stride, _, _ in (rows, columns))
    if algorithm == "direct" or too_wide or min(batch, *channels) < 1:
        return None
    kind: Points = "loose" if algorithm == "bilinear_loose" else "accurate"
    tilings = [Tiling(row, column, kind) for row, column in itertools.product(_sides(*rows), _sides(*columns))]
    if not tilings:  # maps smaller than the kernel: the library says so
        return None
    best = min(tilings, key=lambda tiling: tiling.cost(batch, *channels))
    if algorithm != "auto":
        return best
    taps = best.rows.outputs * best.columns.outputs * best.rows.kernel * best.columns.kernel
    direct = batch * channels[0] * channels[1] * taps * (STRIDED if in_panels and rows[1] * columns[1] > 1 else 1)
    return best if (GAIN_IN_PANELS if in_panels else GAIN) * best.cost(batch, *channels) < direct else None


def _sides(kernel: int, stride: int, padding: int, length: int) -> list[Side]:
    """One side in tiles of every useful width: the narrowest of those that give as many tiles."""
    outputs = Side(kernel, stride, padding, length, 1).outputs
    widths = {-(-outputs // tiles) for tiles in range(1, outputs + 1)}
    return [Side(kernel, stride, padding, length, width) for width in sorted(widths) if width <= WIDEST]
