"""What several routings achieve and take, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def save_comparison(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A panel for each quantity; rows as `capsnet_dist.analysis.comparison` makes them."""
    from matplotlib.figure import Figure

    panels = {"accuracy": "test accuracy", "images_per_second": "images/s", "memory": "memory, MiB"}
    panels |= {"entropy": "entropy of the couplings"}
    figure = Figure(figsize=(11, 1.2 + 0.35 * len(rows)), layout="constrained")
    names = [row["routing"] for row in reversed(rows)]  # bars are counted from below
    for axes, (key, label) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        values = [row[key] or 0 for row in reversed(rows)]
        spread = [row["deviation"] or 0 for row in reversed(rows)] if key == "accuracy" else None
        axes.barh(names, values, xerr=spread, height=0.6, color="tab:blue", ecolor="black", capsize=3)
        axes.set(xlabel=label)
        axes.locator_params(axis="x", nbins=4)
    figure.savefig(file, dpi=120)
