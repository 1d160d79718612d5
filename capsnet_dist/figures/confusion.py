"""The confusion matrix."""

from pathlib import Path
from typing import Any

from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.figures.canvas import drawn, labels


def save_confusion(confusion: Int64[Tensor, "true predicted"], classes: tuple[str, ...], file: Path) -> None:
    """How often each true class was predicted as each class."""
    with drawn(file, figsize=(4.5, 4.2)) as figure:
        axes, names = figure.subplots(), labels(classes)
        axes.imshow(confusion.double().log1p().numpy(), cmap="Blues")
        axes.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
        axes.set(xticklabels=names, yticklabels=names)
        if len(names) <= 20:
            _write_counts(axes, confusion)


def _write_counts(axes: Any, confusion: Int64[Tensor, "true predicted"]) -> None:
    for row, counts in enumerate(confusion.tolist()):
        for column, count in enumerate(counts):
            if count:
                color = "white" if row == column else "black"
                axes.text(column, row, count, ha="center", va="center", fontsize=7, color=color, in_layout=False)
