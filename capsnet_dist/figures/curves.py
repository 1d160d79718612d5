"""Loss and accuracy in the course of one training or of several."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures.axes import number_plainly
from capsnet_dist.figures.canvas import Figure, canvas, drawing, labels, placed

BINS = 60
"""Points of a line: more steps are averaged, so that a trend can be seen."""


class Curve(NamedTuple):
    """A quantity over the steps, in runs that differ in their seeds alone."""

    name: str
    """What the legend calls it."""
    runs: Sequence[tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]]
    """Steps and values of each run."""
    measured: bool = True
    """Whether each value stands alone, as that of an evaluation does; else neighbours are averaged."""


@drawing
def curves(panels: Mapping[str, Sequence[Curve]]) -> Figure:
    """A panel for each quantity, a line for each curve: the mean of its runs, and a band from the least to the largest.

    Args:
        panels: The curves of each quantity. One whose name begins with "loss" gets a logarithmic axis; one that ends
            with "%" is cut off below the evaluations, so that they are not squeezed.
    """
    figure = canvas(4.7 * len(panels), 3.4, layout="none")
    for place, (quantity, shown) in enumerate(panels.items()):
        axes = placed(figure, 4.7 * place + 0.85, 0.55, 3.75, 2.75)
        names = labels(curve.name for curve in shown)
        for number, (name, curve) in enumerate(zip(names, shown, strict=True)):
            _draw(axes, name, curve, "os^Dv"[number % 5] if curve.measured else "")
        axes.set(xlabel="step", ylabel=quantity)
        axes.grid(visible=True, lw=0.4, alpha=0.5)
        _limit(axes, quantity, shown)
        axes.legend()
    return figure


def _draw(axes: Any, name: str, curve: Curve, marker: str) -> None:
    """The mean of the runs, on the steps that all of them have."""
    runs = [_averaged(*run) if not curve.measured else run for run in curve.runs]
    length = min(len(steps) for steps, _ in runs)
    steps = runs[0][0][:length]
    values = np.stack([values[:length] for _, values in runs])
    several = f" ({len(runs)} runs)" if len(runs) > 1 else ""
    (line,) = axes.plot(steps, values.mean(axis=0), marker=marker, markersize=3, lw=1.3, label=name + several)
    if len(runs) > 1:
        axes.fill_between(steps, values.min(axis=0), values.max(axis=0), color=line.get_color(), alpha=0.2, lw=0)


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


def _limit(axes: Any, quantity: str, shown: Sequence[Curve]) -> None:
    measured = [values for curve in shown if curve.measured for _, values in curve.runs if len(values)]
    if quantity.startswith("loss"):
        axes.set(yscale="log")
        number_plainly(axes.yaxis)
    elif quantity.endswith("%") and measured:
        lowest = min(float(np.nanmin(values)) for values in measured)
        axes.set_ylim(max(0.0, lowest - 0.15 * (100 - lowest) - 0.1), 100.0 + 0.03 * (100 - lowest))
