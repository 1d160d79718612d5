"""Loss and accuracy in the course of a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsnet_dist.figures.axes import number_plainly
from capsnet_dist.figures.canvas import drawn


def save_curves(lines: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Loss and accuracy over the steps; lines as `capsnet_dist.record.metrics_file.read` gives them."""
    with drawn(file, figsize=(9.0, 3.5)) as figure:
        _plot_curves(figure, lines)


def _plot_curves(figure: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, weights, style in (("train", None, "-"), ("validation", "last", "o-"), ("validation", "ema", "s-")):
            chosen = [line for line in lines if line["split"] == split and line.get("weights") == weights]
            label = split if weights is None else f"{split}, {weights} weights"
            axes.plot(
                [c["step"] for c in chosen], [c[quantity] for c in chosen], style, label=label, markersize=3, lw=1
            )
        axes.set(xlabel="step", ylabel=quantity)
        if quantity == "loss":
            axes.set(yscale="log")
            number_plainly(axes.yaxis)
        axes.legend(frameon=False)
