"""Loss and accuracy in the course of a training."""

import json
from pathlib import Path

from capsnet_dist.figures.axes import number_plainly


def save_curves(metrics: Path, file: Path) -> None:
    """Loss and accuracy over the steps."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
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
    figure.savefig(file, dpi=120)
