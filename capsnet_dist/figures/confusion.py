"""The confusion matrix."""

from pathlib import Path

from jaxtyping import Int64
from torch import Tensor


def save_confusion(confusion: Int64[Tensor, "true predicted"], classes: tuple[str, ...], file: Path) -> None:
    """How often each true class was predicted as each class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion.double().log1p().numpy(), cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set(xticklabels=classes, yticklabels=classes)
    if len(classes) <= 20:
        for row, counts in enumerate(confusion.tolist()):
            for column, count in enumerate(counts):
                if count:
                    color = "white" if row == column else "black"
                    axes.text(column, row, count, ha="center", va="center", fontsize=7, color=color, in_layout=False)
    figure.savefig(file, dpi=120)
