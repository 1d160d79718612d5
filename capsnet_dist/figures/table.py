"""A table of images: lines of words above rows of tiles."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import inches

COLUMNS = 10
INCHES = 0.75  # of a tile
LINE = 0.19  # inches of a line of text
TITLE = 0.32  # inches, with what is left free above
SIZE = 8.0  # of letters, in points


def line_height(words: set[str]) -> float:
    """Inches of a line of words, each over a tile: those that are wider stand upright."""
    room = inches(words, SIZE) + 0.1
    return LINE if room <= INCHES else room


def draw(
    axes: Any,
    texts: Mapping[str, Sequence[str]],
    rows: Sequence[str],
    images: Float[np.ndarray, "r n c h w"],
    line: float,
) -> None:
    """Draw lines of words by their names, each so many inches high, and below them rows of tiles."""
    step = line / INCHES
    high = tiles.show(axes, images, top=len(texts) * step)
    middles = [(row + 0.5) * step for row in range(len(texts))]
    middles += [len(texts) * step + (row + 0.5) * high for row in range(len(rows))]
    axes.set_ylim(len(texts) * step + len(rows) * high, 0)
    axes.set_yticks(middles, [*texts, *rows])
    axes.set_xticks([])
    tiles.bare(axes)
    rotation = "vertical" if line > LINE else "horizontal"
    for middle, words in zip(middles, texts.values(), strict=False):  # the rows have no words
        for column, word in enumerate(words):
            axes.text(column + 0.5, middle, word, ha="center", va="center", rotation=rotation, fontsize=SIZE)
