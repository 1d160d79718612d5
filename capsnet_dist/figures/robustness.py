"""What a network gets right of changed images, and how well it tells them from others."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, inches, labels, placed

TILE = 0.6  # inches
HIGH = 3.0  # inches of the plane of a panel, which grows with its neighbours
BELOW, BESIDE = 0.55, 0.65  # inches for the names of the axes
LINE = 0.175  # inches of a line of a legend
BAR = 0.19  # inches
SIZE = 9.0  # of letters, in points
DASHES = ("-", (0, (6, 1.5)), (0, (3, 1.5)), (0, (1.5, 1)))
FAINT = "#8c8c8c"

Rejection = tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]
"""The share of unchanged images that is rejected, and that of changed ones, whatever error is tolerated."""


@drawing
def robustness(
    accuracy: float,
    attacks: Mapping[str, Sequence[tuple[float, float]]],
    changes: Mapping[str, float],
    curves: Mapping[str, Rejection],
    whole: str = "",
) -> Figure:
    """A panel for attacks, one for other changes, one for the rejection of both; those that have nothing are left out.

    Args:
        accuracy: Of the unchanged images; like all shares in [0, 1].
        attacks: Of each attack eps and accuracy.
        changes: The accuracy under each other change.
        curves: The rejection of each kind of changes.
        whole: Which of the attacks is all of them together: it lies on the strongest, and is drawn wide and pale below.
    """
    named = {name: list(points) for name, points in zip(labels(attacks), attacks.values(), strict=True)}
    rejected = dict(zip(labels(curves), curves.values(), strict=True))
    legend = LINE * max(len(attacks), len(curves) + 2 if curves else 0)  # of curves with a title and chance
    tall = max(HIGH + legend, BAR * len(changes) + LINE)
    high, beside = tall - legend, inches(labels(changes), SIZE) + 0.15
    widths = {
        _attacks: BESIDE + max(high, inches(named, 8.0) + 0.5) if attacks else 0.0,
        _changes: beside + HIGH if changes else 0.0,
        _curves: BESIDE + max(high, inches(rejected, 8.0) + 0.5) if curves else 0.0,
    }
    figure = canvas(sum(width + 0.25 for width in widths.values() if width), BELOW + tall + 0.2, layout="none")
    left = 0.0
    if attacks:
        _attacks(placed(figure, left + BESIDE, BELOW, high, high), named, accuracy, labels([whole])[0])
        left += widths[_attacks] + 0.25
    if changes:
        _changes(placed(figure, left + beside, BELOW, HIGH, tall - LINE), changes, accuracy)
        left += widths[_changes] + 0.25
    if curves:
        _curves(placed(figure, left + BESIDE, BELOW, high, high), rejected)
    return figure


def _drawn(axes: Any, number: int, of: int, across: Any, up: Any, **style: Any) -> None:
    """One of several lines that may lie on each other: it is thinner than those below it, and does not cover them."""
    thin = number / max(1, of - 1)
    axes.plot(across, up, lw=2.8 - 1.6 * thin, ls=DASHES[number % len(DASHES)], color=PALETTE[number % 8], **style)


def _attacks(axes: Any, attacks: Mapping[str, Sequence[tuple[float, float]]], accuracy: float, whole: str) -> None:
    alone = [name for name in attacks if name != whole]
    for name in sorted(attacks, key=lambda name: name != whole):
        eps, shares = zip(*sorted({0.0: accuracy, **dict(attacks[name])}.items()), strict=True)
        percent = [100 * share for share in shares]
        if name == whole:
            axes.plot(eps, percent, lw=9, color=FAINT, alpha=0.45, solid_capstyle="round", label=name)
            continue
        number = alone.index(name)
        size = 9 - 5 * number / max(1, len(alone) - 1)
        _drawn(axes, number, len(alone), eps, percent, marker="os^Dv"[number % 5], markersize=size, label=name)
    axes.set(xlabel="eps: largest change of a pixel, of 1", ylabel="accuracy, %", ylim=(-4, 104))
    axes.grid(visible=True, lw=0.4, alpha=0.5)
    _explain(axes)


def _changes(axes: Any, changes: Mapping[str, float], accuracy: float) -> None:
    places = range(len(changes), 0, -1)  # bars are counted from below
    axes.barh(places, [100 * share for share in changes.values()], height=0.6, color=PALETTE[0])
    axes.axvline(100 * accuracy, color=PALETTE[5], lw=1.2, ls="--", label=f"unchanged: {100 * accuracy:.1f}")
    axes.set(xlabel="accuracy, %", xlim=(0, 100), ylim=(0.4, len(changes) + 0.6))
    axes.set_yticks(places, labels(changes), fontsize=SIZE)
    axes.tick_params(axis="y", length=0)
    _explain(axes)


def _curves(axes: Any, curves: Mapping[str, Rejection]) -> None:
    for number, (name, (unchanged, changed)) in enumerate(curves.items()):
        _drawn(axes, number, len(curves), 100 * unchanged, 100 * changed, label=name)
    axes.plot([0, 100], [0, 100], "--", color=FAINT, lw=1, label="by chance: 0.5")
    axes.set(xlabel="unchanged images rejected, %", ylabel="changed images rejected, %")
    axes.set(xlim=(-3, 103), ylim=(-3, 103))
    _explain(axes, title="area under the curve", title_fontsize=8, alignment="left")


def _explain(axes: Any, **style: Any) -> None:
    """A legend above the axes, where it covers nothing."""
    place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "borderaxespad": 0.2, "borderpad": 0.2}
    axes.legend(**place, labelspacing=0.3, handlelength=3.2, **style)


@drawing
def changed(images: Float[np.ndarray, "r m c h w"], names: Sequence[str]) -> Figure:
    """A row for each change: what becomes of some images.

    Args:
        images: With pixels in [0, 1].
        names: Of the changes.
    """
    shown = labels(names)
    rows, columns, _, height, width = images.shape
    left, tall = inches(shown, 10.0) + 0.2, TILE * rows * height / width
    figure = canvas(left + TILE * columns + 0.1, tall + 0.2, layout="none")
    axes = placed(figure, left, 0.1, TILE * columns, tall)
    high = tiles.show(axes, images)
    axes.set_yticks([(row + 0.5) * high for row in range(rows)], shown, fontsize=SIZE)
    axes.set_xticks([])
    tiles.bare(axes)
    return figure
