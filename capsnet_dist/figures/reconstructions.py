"""Images and what a network rebuilds from their class capsules (Sabour et al., 2017, figure 3)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import Figure, canvas, drawing, inches, labels, placed

COLUMNS = 10
INCHES = 0.75  # of a tile
LINE = 0.19  # inches of a line of text
TITLE = 0.32  # inches, with what is left free above
SIZE = 8.0  # of letters, in points


@drawing
def reconstructions(
    images: Float[np.ndarray, "n c h w"],
    rebuilt: Float[np.ndarray, "n c h w"],
    true: Int64[np.ndarray, " n"] | None,
    predicted: Int64[np.ndarray, " n"],
    targets: Int64[np.ndarray, " n"],
    classes: Sequence[str],
) -> Figure:
    """What is true, what is predicted, the image, and what is rebuilt from the capsule of which class.

    Those that are predicted right come first. An image may stand several times, rebuilt from several classes.

    Args:
        images: Pixels in [0, 1].
        rebuilt: What the network rebuilds.
        true: The true classes, where they are known.
        predicted: The predicted classes.
        targets: The classes whose capsules the images are rebuilt from.
        classes: Names of the classes.
    """
    names = labels(classes, longest=24)
    texts = {} if true is None else {"true class": true}
    texts |= {"predicted": predicted, "rebuilt from": targets}
    lines = _lines(predicted == (predicted if true is None else true), known=true is not None)
    height, width = images.shape[2:]
    room = inches({names[index] for row in texts.values() for index in row}, SIZE) + 0.1
    line = LINE if room <= INCHES else room  # long names stand upright
    high = len(texts) * line + 2 * INCHES * height / width
    left, columns = inches(["reconstruction"], 10.0) + 0.25, max(len(part) for _, part in lines)
    figure = canvas(left + INCHES * columns + 0.1, 0.1 + len(lines) * (high + TITLE), layout="none")
    for number, (title, part) in enumerate(lines, 1):
        bottom = 0.1 + (len(lines) - number) * (high + TITLE)
        axes = placed(figure, left, bottom, INCHES * len(part), high)
        rows = {what: [names[index] for index in row[part]] for what, row in texts.items()}
        _draw_line(axes, rows, np.stack([images[part], rebuilt[part]]), line / INCHES)
        axes.set_title(title, loc="left", fontweight="bold")
    return figure


def _lines(right: Bool[np.ndarray, " n"], *, known: bool) -> list[tuple[str, Int64[np.ndarray, " m"]]]:
    """Which images stand in a line, and its title: first those that are predicted right."""
    found: list[tuple[str, Int64[np.ndarray, " m"]]] = []
    for title, chosen in (("Predicted right" if known else "", right), ("Predicted wrong", ~right)):
        indices = np.flatnonzero(chosen)
        parts = [indices[start : start + COLUMNS] for start in range(0, len(indices), COLUMNS)]
        found += [(title if number == 0 else "", part) for number, part in enumerate(parts)]
    return found


def _draw_line(axes: Any, texts: dict[str, list[str]], images: Float[np.ndarray, "2 n c h w"], line: float) -> None:
    """A table: lines of text, of a height in tiles, above the images and what is rebuilt from them."""
    high = tiles.show(axes, images, top=len(texts) * line)
    middles = [(row + 0.5) * line for row in range(len(texts))]
    middles += [len(texts) * line + (row + 0.5) * high for row in range(2)]
    axes.set_ylim(len(texts) * line + 2 * high, 0)
    axes.set_yticks(middles, [*texts, "image", "reconstruction"])
    axes.set_xticks([])
    tiles.bare(axes)
    for middle, names in zip(middles, texts.values(), strict=False):
        for column, name in enumerate(names):
            rotation = "vertical" if line * INCHES > LINE else "horizontal"
            axes.text(column + 0.5, middle, name, ha="center", va="center", rotation=rotation, fontsize=SIZE)
