"""What each number of a pose stands for (Sabour et al., 2017, figure 4)."""

from typing import Any

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, inches, labels, placed

INCHES = 0.5  # of a tile, at least
SIZE = 9.0  # of letters, in points
NUMBER = "number of the pose, from 0, strongest first"
EFFECT = "effect: mean change of a pixel from end to end"
BAND = "; the line below a row: where 96 % of the images of this class lie"


def effects(rebuilt: Float[np.ndarray, "d m c h w"]) -> Float[np.ndarray, " d"]:
    """How much a pixel changes between the ends of each row, on average over the image."""
    return np.abs(rebuilt[:, -1] - rebuilt[:, 0]).mean(axis=(1, 2, 3))


@drawing
def poses(
    rebuilt: Float[np.ndarray, "d m c h w"],
    offsets: Float[np.ndarray, " m"],
    name: str,
    usual: Float[np.ndarray, "2 d"] | None = None,
    num_rows: int = 16,
) -> Figure:
    """A row for each number of a pose, moved from left to right; those that change the image most come first.

    Args:
        rebuilt: What the network rebuilds, with pixels in [0, 1].
        offsets: What is added to a number, rising in equal steps.
        name: The class whose capsule it is.
        usual: The offsets between which other images of that class lie, where they are known: marked in each row.
        num_rows: How many rows at most.
    """
    change = effects(rebuilt)
    order = np.argsort(-change, kind="stable")[:num_rows]
    height, width = rebuilt.shape[-2:]
    title = f"Class {labels([name])[0]}: what is rebuilt when one number of the pose is moved"
    below = "added to the number" + (BAND if usual is not None else "")
    high, across = inches([EFFECT, NUMBER], SIZE), inches([title, below], SIZE)
    tile = max(INCHES, across / len(offsets), high / (len(order) * height / width))  # few tiles make room for texts
    wide, tall = tile * len(offsets), tile * len(order) * height / width
    figure = canvas(0.85 + wide + 0.9, 0.65 + tall + 0.35, layout="none")
    axes = placed(figure, 0.85, 0.65, wide, tall)
    row_height = tiles.show(axes, rebuilt[order])
    middles = [(row + 0.5) * row_height for row in range(len(order))]
    axes.set_yticks(middles, [str(number) for number in order])
    axes.set_xticks([column + 0.5 for column in range(len(offsets))], [_signed(offset) for offset in offsets.tolist()])
    axes.set_xlabel(below, fontsize=SIZE)
    axes.set_ylabel(NUMBER, fontsize=SIZE)
    if usual is not None:
        _mark(axes, usual[:, order], offsets, row_height)
    tiles.bare(axes)
    beside = axes.secondary_yaxis("right")
    beside.set_yticks(middles, [f"{effect:.3f}" for effect in change[order]])
    beside.set_ylabel(EFFECT, fontsize=SIZE)
    tiles.bare(beside)
    axes.set_title(title, fontsize=SIZE)
    return figure


def _mark(axes: Any, usual: Float[np.ndarray, "2 d"], offsets: Float[np.ndarray, " m"], high: float) -> None:
    """A line below each row, from the least to the largest usual offset."""
    step = (offsets[-1] - offsets[0]) / (len(offsets) - 1)
    columns = np.clip((usual - offsets[0]) / step + 0.5, 0, len(offsets))
    for row, (left, right) in enumerate(columns.T):
        bottom = (row + 0.985) * high
        axes.plot([left, right], [bottom, bottom], color=PALETTE[5], lw=1.6, solid_capstyle="butt")


def _signed(offset: float) -> str:
    text = f"{offset:+.2f}"
    return "0" if float(text) == 0 else text.replace("-", "−")
