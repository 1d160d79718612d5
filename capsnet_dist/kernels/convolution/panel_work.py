"""How threads share the panels of a convolution, and the memory that each needs for its own."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.convolution.panels import CHANNELS, DEPTH, GROUP, PAD, phase_count
from capsnet_dist.kernels.convolution.pieces import Piece
from capsnet_dist.kernels.convolution.tiling import Tiling
from capsnet_dist.kernels.convolution.transforms import Transform
from capsnet_dist.kernels.scratch import scratch
from capsnet_dist.kernels.threads import PIECES, at_once


class Work(NamedTuple):
    """How the panels of one side of the weight are shared, and the memory that each thread needs for its own."""

    tiling: Tiling
    taps: list[Transform]
    """Of each phase."""
    weight: Float[Tensor, "outputs inputs t"]
    """With channels of full panels."""
    number: int
    """Panels."""
    depth: int
    """Rows of each in the weight: the channels on the other side."""
    samples: int
    """Of all tiles."""
    together: int
    """Panels that a thread does at a time: with two, the factors of the other side are read half as often."""

    @property
    def tap(self) -> int:
        """Numbers from one tap to the next."""
        return self.together * CHANNELS * self.depth + PAD

    @property
    def steps(self) -> tuple[int, int]:
        """From one row and column of the taps of a phase to the next."""
        rows, columns, _ = self.tiling
        return rows.stride * columns.kernel * self.tap, columns.stride * self.tap

    def taps_room(self) -> Any:
        """For the panels of the weight."""
        return self._room("panels of a weight", self.weight.shape[2] * self.tap)

    def room(self, transforms: list[Transform], rows: int) -> tuple[Any, Any, Any, Any]:
        """For products of so many rows, for values and factors of the weight, and for what transforms are the end."""
        width = self.together * CHANNELS
        of_rows, of_taps = width * rows + PAD, width * DEPTH + PAD
        most = max(max(transform.sizes) for transform in transforms)
        values = max(len(transform.rows) * transform.single.shape[1] for transform in transforms)
        return (
            self._room("products of panels", most * of_rows),
            self._room("values of taps", 2 * self.tiling.columns.taps * of_taps),
            self._room("factors of taps", GROUP * of_taps),
            self._room("values of panels", values * of_rows),
        )

    def share(self, work: Any) -> None:
        """Call it with the first panel of those that are done together, and how many these are."""
        firsts = range(0, self.number, self.together)
        at_once(lambda n: work(n, min(self.together, self.number - n)), firsts, self.weight.device, most=PIECES)

    def _room(self, use: str, size: int) -> Any:
        return scratch(use, self.weight, size).numpy()


def share_panels(tiling: Tiling, parts: list[Piece], weight: Tensor, number: int, batch: int) -> Work:
    """Two panels together where no thread then goes without any."""
    depth = weight.shape[0] * weight.shape[1] // (number * CHANNELS)
    together = 2 if number >= 2 * torch.get_num_threads() else 1
    taps = [piece.algorithm.taps for piece in parts for _ in range(phase_count(piece))]
    return Work(tiling, taps, weight, number, depth, batch * tiling.tiles, together)
