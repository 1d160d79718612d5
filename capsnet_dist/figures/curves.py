"""Loss and accuracy in the course of one training or of several."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures.axes import number_plainly
from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, labels, placed

FEW = 4
"""Lines whose legend finds room between them; that of more stands below the panel."""
LINE = 0.19  # inches of a line of a legend
MARKERS = "os^Dv"
BINS = 60
"""Points of a line: more steps are averaged, so that a trend can be seen."""
FAR_LOSS, FAR_ERROR = 30.0, 5.0
"""So many times as far as most of most runs: what lies beyond would make flat lines of them, and is cut off."""


class Curve(NamedTuple):
    """A quantity over the steps, in runs that differ in their seeds alone."""

    name: str
    """What the legend calls it."""
    runs: Sequence[tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]]
    """Steps and values of each run."""
    measured: bool = True
    """Whether each value stands alone, as that of an evaluation does; else neighbours are averaged."""
    of: str = ""
    """What it belongs to: where there are several, each has its colour and marker, and its curves differ in dashes."""


@drawing
def curves(panels: Mapping[str, Sequence[Curve]]) -> Figure:
    """A panel for each quantity, a line for each curve: the mean of its runs, and a band from the least to the largest.

    Args:
        panels: The curves of each quantity. One whose name begins with "loss" gets a logarithmic axis, which ends above
            most runs where one goes far beyond, as one that diverges; one that ends with "%" is cut off below the
            evaluations of most. The legend says how far a curve goes that leaves its panel.
    """
    most = max(map(len, panels.values()), default=0)
    below = LINE * most + 0.1 if most > FEW else 0.0
    figure = canvas(4.7 * len(panels), 3.4 + below, layout="none")
    for place, (quantity, shown) in enumerate(panels.items()):
        axes = placed(figure, 4.7 * place + 0.85, 0.55 + below, 3.75, 2.75)
        low, high = _limits(quantity, shown)
        names = labels(curve.name for curve in shown)
        for name, curve, look in zip(names, shown, _looks(shown), strict=True):
            _draw(axes, name + _beyond(curve, low, high), curve, look)
        if quantity.startswith("loss"):
            axes.set(yscale="log")
            number_plainly(axes.yaxis)
        axes.set(xlabel="step", ylabel=quantity, ylim=(low, high))
        axes.grid(visible=True, lw=0.4, alpha=0.5)
        axes.legend(**({"loc": "upper left", "bbox_to_anchor": (-0.1, -0.2), "fontsize": 8} if below else {}))
    return figure


def _looks(shown: Sequence[Curve]) -> list[dict[str, Any]]:
    """Colour, marker and dashes of each curve of a panel."""
    groups = list(dict.fromkeys(curve.of for curve in shown))
    looks: list[dict[str, Any]] = []
    for number, curve in enumerate(shown):
        group = groups.index(curve.of)
        before = sum(other.measured and other.of == curve.of for other in shown[:number])
        place = number if len(groups) == 1 else group
        dashes = "-" if len(groups) == 1 or not curve.measured else ("--", "-", ":")[before % 3]
        marker = MARKERS[place % len(MARKERS)] if curve.measured else ""
        looks.append({"color": PALETTE[place % len(PALETTE)], "marker": marker, "linestyle": dashes})
    return looks


def _draw(axes: Any, name: str, curve: Curve, look: dict[str, Any]) -> None:
    """The mean of the runs, on the steps that all of them have."""
    runs = _points(curve)
    length = min(len(steps) for steps, _ in runs)
    steps = runs[0][0][:length]
    values = np.stack([values[:length] for _, values in runs])
    (line,) = axes.plot(steps, values.mean(axis=0), markersize=3, lw=1.3, label=name, **look)
    if len(runs) > 1:
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)


def _points(curve: Curve) -> list[tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]]:
    """What is drawn of each run."""
    return [run if curve.measured else _averaged(*run) for run in curve.runs]


def _averaged(
    steps: Float[np.ndarray, " s"], values: Float[np.ndarray, " s"]
) -> tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"]]:
    """Means of neighbouring steps, each at the last of them."""
    size = -(-len(steps) // BINS)
    starts = range(0, len(steps), size)
    return (
        np.array([steps[start : start + size][-1] for start in starts]),
        np.array([values[start : start + size].mean() for start in starts]),
    )


def _limits(quantity: str, shown: Sequence[Curve]) -> tuple[float | None, float | None]:
    """The ends of the axis of a quantity; None leaves an end to matplotlib."""
    runs = [
        run[np.isfinite(run)] for curve in shown for _, run in _points(curve) if curve.measured or "%" not in quantity
    ]
    runs = [run for run in runs if len(run)]
    if quantity.startswith("loss"):
        usual, highest = _usual(runs)
        least = min((float(run[run > 0].min()) for run in runs if (run > 0).any()), default=0.0)
        return (least / 1.3, 3 * usual) if least and highest > FAR_LOSS * usual else (None, None)
    if not quantity.endswith("%") or not runs:
        return None, None
    usual, highest = _usual([100 - run for run in runs])
    most = 2 * usual if usual and highest > FAR_ERROR * usual else highest
    return max(0.0, 100 - 1.15 * most - 0.1), 100 + 0.03 * most


def _usual(runs: Sequence[Float[np.ndarray, " _"]]) -> tuple[float, float]:
    """How high most of most runs lies, and how high the highest of all."""
    highs = sorted(float(np.quantile(run, 0.95, method="lower")) for run in runs)
    return (highs[(len(highs) - 1) // 2], max(float(run.max()) for run in runs)) if runs else (0.0, 0.0)


def _beyond(curve: Curve, low: float | None, high: float | None) -> str:
    """How many runs a curve has, and how far it goes where that is not seen."""
    several = f" ({len(curve.runs)} runs)" if len(curve.runs) > 1 else ""
    values = np.concatenate([values for _, values in _points(curve)])
    finite = values[np.isfinite(values)]
    if high is not None and len(finite) and finite.max() > high:
        return f"{several}, up to {finite.max():.3g}"
    if low is not None and curve.measured and len(finite) and finite.min() < low:
        return f"{several}, from {finite.min():.3g}"
    return several
