"""How time and memory grow."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsnet_dist.figures.axes import number_plainly
from capsnet_dist.figures.canvas import Figure, canvas, drawing, labels

MARKERS = "os^Dv"


@drawing
def scaling(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Time and memory over sizes, on logarithmic axes, with the power laws that they follow.

    Args:
        rows: As `capsnet_dist.bench` makes them.
    """
    names = list(dict.fromkeys(row["axis"] for row in rows))
    figure = canvas(9.0, 3.2 * len(names))
    for name, panels in zip(names, figure.subplots(len(names), 2, squeeze=False), strict=True):
        shown = [row for row in rows if row["axis"] == name]
        _plot_power_laws(panels[0], shown, "seconds", "time", 1e3)
        _plot_power_laws(panels[1], shown, "bytes", "memory", 2**-20)
        panels[0].set(xlabel=f"number of {name}", ylabel="time, ms")
        panels[1].set(xlabel=f"number of {name}", ylabel="memory, MiB")
    return figure


def _plot_power_laws(axes: Any, rows: Sequence[Mapping[str, Any]], key: str, law: str, scale: float) -> None:
    """What was measured as dots, the law as a line; a value of zero has no logarithm and is left out."""
    candidates = labels(row["candidate"] for row in rows)
    for color, row in enumerate(rows):
        fit = row["laws"][law]
        if fit:
            points = [(size, scale * value) for size, value in zip(row["sizes"], row[key], strict=True) if value > 0]
            curve = [(size, scale * fit["factor"] * size ** fit["exponent"]) for size in row["sizes"]]
            curve = [(size, value) for size, value in curve if 1e-9 < value < 1e12]  # a fit to noise can be absurd
            name = f"{candidates[color]}: {fit['exponent']:.2f}"
            axes.loglog(*zip(*points, strict=True), MARKERS[color % len(MARKERS)], color=f"C{color}", markersize=4)
            axes.loglog([size for size, _ in curve], [value for _, value in curve], color=f"C{color}", lw=1, label=name)
    sizes = sorted({size for row in rows for size in row["sizes"]})
    axes.set_xscale("log")
    number_plainly(axes.yaxis)
    axes.set_xticks(sizes, map(str, sizes))
    axes.set_xticks([], minor=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="exponent", frameon=False, fontsize=7, title_fontsize=7)
