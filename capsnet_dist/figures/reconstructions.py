"""Images and what a network rebuilds from their class capsules (Sabour et al., 2017, figure 3)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64

from capsnet_dist.figures.canvas import Figure, canvas, drawing, inches, labels, placed
from capsnet_dist.figures.table import COLUMNS, INCHES, TITLE, draw, line_height


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
    line = line_height({names[index] for row in texts.values() for index in row})
    high = len(texts) * line + 2 * INCHES * height / width
    left, columns = inches(["reconstruction"], 10.0) + 0.25, max(len(part) for _, part in lines)
    figure = canvas(left + INCHES * columns + 0.1, 0.1 + len(lines) * (high + TITLE), layout="none")
    for number, (title, part) in enumerate(lines, 1):
        bottom = 0.1 + (len(lines) - number) * (high + TITLE)
        axes = placed(figure, left, bottom, INCHES * len(part), high)
        rows = {what: [names[index] for index in row[part]] for what, row in texts.items()}
        draw(axes, rows, ["image", "reconstruction"], np.stack([images[part], rebuilt[part]]), line)
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
