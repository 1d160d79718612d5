"""What several routings achieve and take, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capsnet_dist.figures.canvas import drawn, labels


def save_comparison(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """A panel for each quantity; rows as `capsnet_dist.analysis.comparison` makes them."""
    panels = {"accuracy": "test accuracy", "images_per_second": "images/s", "memory": "memory, MiB"}
    panels |= {"entropy": "entropy of the couplings"}
    with drawn(file, figsize=(11.0, 1.2 + 0.35 * len(rows))) as figure:
        places = range(len(rows), 0, -1)  # bars are counted from below
        for axes, (key, quantity) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
            values = [row[key] or 0 for row in rows]
            spread = [row["deviation"] or 0 for row in rows] if key == "accuracy" else None
            axes.barh(places, values, xerr=spread, height=0.6, color="tab:blue", ecolor="black", capsize=3)
            axes.set(xlabel=quantity)
            axes.set_yticks(places, labels(row["routing"] for row in rows))
            axes.locator_params(axis="x", nbins=4)
