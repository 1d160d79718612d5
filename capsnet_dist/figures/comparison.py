"""What several routings or networks achieve and take, side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, ink, labels

PANELS = {
    "accuracy": "test accuracy ± standard deviation, %",
    "calibration": "calibration error",
    "speed": "training speed (baseline: 1)",
    "memory": "memory, MiB",
    "entropy": "entropy of couplings (even: 1)",
    "dead": "dead capsules, %",
}
ABSOLUTE = "images_per_second", "training, images/s"
"""What stands in place of speeds where there is nothing that they are relative to."""
SHARES = ("accuracy", "dead")
"""What is shown in percent."""


@drawing
def comparison(rows: Sequence[Mapping[str, Any]], kind: str = "routing") -> Figure:
    """A panel for each quantity, with a bar for each routing or network; of accuracies a point, as they lie together.

    Args:
        rows: As `capsnet_dist.analysis.comparison` makes them; None, which is a dash, where a quantity is not known.
        kind: In what they differ: "routing" or "network".
    """
    figure = canvas(15.0, 1.4 + 0.35 * len(rows))
    names = labels(row["name"] for row in rows)
    is_relative = any(row["speed"] is not None for row in rows)
    panels = [panel if is_relative or panel[0] != "speed" else ABSOLUTE for panel in PANELS.items()]
    for axes, (key, quantity) in zip(figure.subplots(1, len(panels), sharey=True), panels, strict=True):
        scale = 100 if key in SHARES else 1
        known = {len(rows) - place: row for place, row in enumerate(rows) if row[key] is not None}  # counted from below
        values = [scale * row[key] for row in known.values()]
        if key == "accuracy":
            spread = [scale * (row["deviation"] or 0) for row in known.values()]
            axes.errorbar(values, [*known], xerr=spread, fmt="o", color=PALETTE[0], ecolor=ink(), capsize=3)
            axes.grid(visible=True, lw=0.4, alpha=0.5)
            axes.margins(x=0.1)
        else:
            axes.barh([*known], values, height=0.6, color=PALETTE[0])
            axes.set_xlim(0, 1.05 * max(values, default=0) or 1)
        for place in range(1, len(rows) + 1):
            if place not in known or (known[place][key] == 0 and key != "accuracy"):  # where there is no bar to be seen
                mark = "0" if place in known else "–"
                axes.text(0.02, place, mark, transform=axes.get_yaxis_transform(), va="center")
        axes.set(xlabel=quantity, ylim=(0.4, len(rows) + 0.6))
        axes.set_yticks(range(len(rows), 0, -1), names)
        axes.locator_params(axis="x", nbins=4)
    figure.get_axes()[0].set_ylabel(kind)
    return figure
