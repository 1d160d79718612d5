"""Which classes are taken for which."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, inches, labels, readable_on

LARGEST = 30
"""Classes of the largest matrix in which counts can be read."""
PAIRS = 20
CELL, SMALLEST = 0.36, 1.6  # inches: of a cell, and of a whole matrix
SIZE = 7.5  # of counts, in points


@drawing
def confusion(counts: Int64[np.ndarray, "true predicted"], classes: Sequence[str]) -> Figure:
    """How often each true class was predicted as each class; of more than 30 classes the most confused pairs.

    Args:
        counts: How many images of each true class were predicted as each class.
        classes: Names of the classes.
    """
    return _matrix(counts, classes) if len(classes) <= LARGEST else _pairs(counts, classes)


def _matrix(counts: Int64[np.ndarray, "true predicted"], classes: Sequence[str]) -> Figure:
    names = labels(classes, longest=24)
    cell = max(CELL, inches([str(counts.max())], SIZE) + 0.12)
    side = max(cell * len(names), SMALLEST)
    room = inches(names, 10.0)
    figure = canvas(side + room + 1.9, side + room + 1.0)
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(range(len(names)), names, rotation="vertical" if room > side / len(names) - 0.1 else "horizontal")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    axes.set_title(_summary(counts), fontsize=9)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 2.4 / side), aspect=14)
    bar.set_label("of the true class, %")
    for row, column in np.argwhere(counts):
        colour = readable_on(image.to_rgba(100 * share[row, column]))
        axes.text(column, row, counts[row, column], ha="center", va="center", fontsize=SIZE, color=colour)
    return figure


def _pairs(counts: Int64[np.ndarray, "true predicted"], classes: Sequence[str]) -> Figure:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(index), len(classes)) for index in order if wrong.flat[index]]
    names = labels((classes[index] for pair in pairs for index in pair), longest=24)
    texts = [f"{true} → {predicted}" for true, predicted in zip(names[::2], names[1::2], strict=True)]
    figure = canvas(4.5 + inches(texts, 10.0), 1.1 + 0.24 * max(1, len(pairs)))
    axes = figure.subplots()
    found = [int(wrong[pair]) for pair in pairs]
    bars = axes.barh(range(len(pairs)), found, color=PALETTE[0], height=0.7)
    axes.bar_label(bars, [f"{wrong[pair]} of {counts[pair[0]].sum()}" for pair in pairs], padding=3, fontsize=8)
    axes.set_yticks(range(len(pairs)), texts)
    axes.set(xlabel="images", ylabel="true class → predicted class", xlim=(0, 1.35 * max(found, default=1)))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.invert_yaxis()
    axes.set_title(f"{_summary(counts)}; the {len(pairs)} most confused pairs", fontsize=9)
    return figure


def _summary(counts: Int64[np.ndarray, "true predicted"]) -> str:
    total, right = int(counts.sum()), int(counts.trace())
    return f"{right:,} of {total:,} right ({100 * right / max(total, 1):.2f} %)"
