"""What several routings or networks achieve and take, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, ink, labels

PANELS = {
    "accuracy": "test accuracy ± standard deviation",
    "calibration": "calibration error",
    "images_per_second": "training, images/s",
    "memory": "memory, MiB",
    "entropy": "entropy of couplings (even: 1)",
    "dead": "share of dead capsules",
}


@drawing
def comparison(rows: Sequence[Mapping[str, Any]], kind: str = "routing") -> Figure:
    """A panel for each quantity, a bar for each routing or network.

    Args:
        rows: As `capsnet_dist.analysis.comparison` makes them; None where a quantity is not known.
        kind: In what they differ: "routing" or "network".
    """
    figure = canvas(15.0, 1.4 + 0.35 * len(rows))
    places = range(len(rows), 0, -1)  # bars are counted from below
    names = labels(row["name"] for row in rows)
    for axes, (key, quantity) in zip(figure.subplots(1, len(PANELS), sharey=True), PANELS.items(), strict=True):
        values = [row[key] or 0 for row in rows]
        spread = [row["deviation"] or 0 for row in rows] if key == "accuracy" else None
        axes.barh(places, values, xerr=spread, height=0.6, color=PALETTE[0], ecolor=ink(), capsize=3)
        axes.set(xlabel=quantity)
        axes.set_yticks(places, names)
        axes.locator_params(axis="x", nbins=4)
    figure.get_axes()[0].set_ylabel(kind)
    return figure
