"""The confusion matrix."""

from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.figures.canvas import drawn, labels

SHORT = 2  # letters of a name that stand side by side
INCHES_PER_LETTER = 0.09


def save_confusion(confusion: Int64[Tensor, "true predicted"], classes: tuple[str, ...], file: Path) -> None:
    """How often each true class was predicted as each class."""
    names = labels(classes)
    beyond = max(0, max(map(len, names)) - SHORT)
    room = beyond * INCHES_PER_LETTER
    with drawn(file, figsize=(4.5 + room, 4.2 + room)) as figure:
        axes = figure.subplots()
        axes.imshow(confusion.double().log1p().numpy(), cmap="Blues")
        axes.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
        axes.set_xticklabels(names, rotation="vertical" if beyond else "horizontal")
        axes.set_yticklabels(names)
        if len(names) <= 20:
            _write_counts(axes, confusion)


def _write_counts(axes: Any, confusion: Int64[Tensor, "true predicted"]) -> None:
    for row, counts in enumerate(confusion.tolist()):
        for column, count in enumerate(counts):
            if count:
                color = "white" if row == column else "black"
                axes.text(column, row, count, ha="center", va="center", fontsize=7, color=color, in_layout=False)
