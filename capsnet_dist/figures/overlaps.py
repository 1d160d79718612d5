"""Overlapping objects and what a network rebuilds of each (Sabour et al., 2017, figure 5)."""

from collections.abc import Sequence

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int64

from capsnet_dist.figures.canvas import Figure, canvas, drawing, inches, labels, placed
from capsnet_dist.figures.table import COLUMNS, INCHES, TITLE, draw, line_height

HUES = ((1.0, 0.6, 0.0), (0.0, 0.4, 1.0))
"""Orange and blue, which sum up to white where two objects overlap, and which everybody tells apart."""
GROUPS = ("Predicted right", "Predicted wrong, rebuilt from both", "One class is neither there nor predicted")


@drawing
def overlaps(
    images: Float[np.ndarray, "n c h w"],
    objects: Float[np.ndarray, "n 2 c h w"],
    true: Int64[np.ndarray, "n 2"],
    predicted: Int64[np.ndarray, "n 2"],
    targets: Int64[np.ndarray, "n 2"],
    groups: Int64[np.ndarray, " n"],
    classes: Sequence[str],
) -> Figure:
    """The image, both objects as they are rebuilt, in orange and blue, one upon another, and each of them alone.

    Above stand the classes that are there (L), that are predicted (P), and whose capsules they are rebuilt from (R).

    Args:
        images: Pixels in [0, 1].
        objects: What the network rebuilds of each object.
        true: The true classes.
        predicted: The predicted classes.
        targets: The classes whose capsules the objects are rebuilt from, in the order of the objects.
        groups: Where each stands: 0 with those that are predicted right, 1 with the wrong ones, 2 with those that are
            rebuilt from a class that is neither there nor predicted.
        classes: Names of the classes.
    """
    names = labels(classes, longest=12)
    texts = {"L: classes there": true, "P: predicted": predicted, "R: rebuilt from": targets}
    written = {what: [", ".join(names[index] for index in pair) for pair in pairs] for what, pairs in texts.items()}
    chosen = [np.flatnonzero(groups == group)[:COLUMNS] for group in range(len(GROUPS))]
    lines = [(title, part) for title, part in zip(GROUPS, chosen, strict=True) if len(part)]
    rows = ["image", "both rebuilt", "the first", "the second"]
    line = line_height({name for row in written.values() for name in row})
    height, width = images.shape[2:]
    high = len(texts) * line + len(rows) * INCHES * height / width
    left, columns = inches([*rows, *texts], 10.0) + 0.25, max(len(part) for _, part in lines)
    wide = max(INCHES * columns, inches([title for title, _ in lines], 11.0))
    figure = canvas(left + wide + 0.1, 0.1 + len(lines) * (high + TITLE), layout="none")
    drawn = _coloured(images, objects)
    for number, (title, part) in enumerate(lines, 1):
        axes = placed(figure, left, 0.1 + (len(lines) - number) * (high + TITLE), INCHES * len(part), high)
        draw(axes, {what: [row[i] for i in part] for what, row in written.items()}, rows, drawn[:, part], line)
        axes.set_title(title, loc="left", fontweight="bold")
    return figure


def _coloured(
    images: Float[np.ndarray, "n c h w"], objects: Float[np.ndarray, "n 2 c h w"]
) -> Float[np.ndarray, "4 n 3 h w"]:
    """Rows of tiles in red, green and blue: the images, their objects one upon another, and each alone."""
    three = images[:, :3] if images.shape[1] >= 3 else np.repeat(images[:, :1], 3, axis=1)
    shades = objects.mean(axis=2)[:, :, None] * rearrange(np.array(HUES, np.float32), "o c -> 1 o c 1 1")
    return np.stack([three, shades.sum(axis=1).clip(0, 1), shades[:, 0], shades[:, 1]])
