"""Images of each class, as a network sees them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import Figure, canvas, drawing, inches, labels, placed

INCHES = 0.6  # of a tile
LARGEST = 100
"""Classes on a page."""
SIZE = 9.0  # of letters, in points


@drawing
def examples(images: Float[np.ndarray, "j m c h w"], classes: Sequence[str]) -> Figure:
    """A row for each class, of the first hundred: its mean image, then some of its images.

    Args:
        images: With pixels in [0, 1].
        classes: Names of the classes.
    """
    names, images = labels(classes[:LARGEST], longest=24), images[:LARGEST]
    rows, columns, _, height, width = images.shape
    left, wide, tall = inches([*names], 10.0) + 0.5, INCHES * columns, INCHES * rows * height / width
    figure = canvas(left + wide + 0.1, 0.6 + tall + 0.1, layout="none")
    axes = placed(figure, left, 0.6, wide, tall)
    high = tiles.show(axes, images)
    axes.set_yticks([(row + 0.5) * high for row in range(rows)], names, fontsize=SIZE)
    axes.set_xticks([column + 0.5 for column in range(columns)], ["mean", *map(str, range(1, columns))], fontsize=SIZE)
    axes.set_xlabel("image of the class, as training sees it", fontsize=SIZE)
    axes.set_ylabel(
        "class" if len(classes) <= LARGEST else f"the first {rows} of {len(classes):,} classes", fontsize=SIZE
    )
    tiles.bare(axes)
    return figure
