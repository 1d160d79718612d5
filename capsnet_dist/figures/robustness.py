"""What a network gets right of changed images, and how well it tells them from others."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, inches, labels, placed

INCHES = 0.6  # of a tile
HIGH = 3.4  # inches of a panel
SIZE = 9.0  # of letters, in points


@drawing
def robustness(
    accuracy: float,
    attacks: Mapping[str, Sequence[tuple[float, float]]],
    changes: Mapping[str, float],
    curves: Mapping[str, tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]],
) -> Figure:
    """A panel for attacks, one for other changes, one for the rejection of both; those that have nothing are left out.

    Args:
        accuracy: Of the unchanged images; like all shares in [0, 1].
        attacks: Of each attack eps and accuracy.
        changes: The accuracy under each other change.
        curves: The share of unchanged images that is rejected, and that of changed ones, whatever error is tolerated.
    """
    panels: list[Callable[[Any], None]] = []
    panels += [partial(_attacks, attacks=attacks, accuracy=accuracy)] if attacks else []
    panels += [partial(_changes, changes=changes, accuracy=accuracy)] if changes else []
    panels += [partial(_curves, curves=curves)] if curves else []
    figure = canvas(4.8 * len(panels), max(HIGH, 0.19 * len(changes) + 0.8))
    for number, draw in enumerate(panels, 1):
        draw(figure.add_subplot(1, len(panels), number))
    return figure


def _attacks(axes: Any, attacks: Mapping[str, Sequence[tuple[float, float]]], accuracy: float) -> None:
    for number, (name, points) in enumerate(zip(labels(attacks), attacks.values(), strict=True)):
        eps, shares = zip(*sorted({0.0: accuracy, **dict(points)}.items()), strict=True)
        axes.plot(eps, [100 * share for share in shares], marker="os^Dv"[number % 5], markersize=4, lw=1.3, label=name)
    axes.set(xlabel="eps: largest change of a pixel, of 1", ylabel="accuracy, %", ylim=(-3, 103))
    axes.grid(visible=True, lw=0.4, alpha=0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _changes(axes: Any, changes: Mapping[str, float], accuracy: float) -> None:
    places = range(len(changes), 0, -1)  # bars are counted from below
    axes.barh(places, [100 * share for share in changes.values()], height=0.6, color=PALETTE[0])
    axes.axvline(100 * accuracy, color=PALETTE[5], lw=1.2, ls="--", label="unchanged")
    axes.set(xlabel="accuracy, %", xlim=(0, 100))
    axes.set_yticks(places, labels(changes))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1))


def _curves(axes: Any, curves: Mapping[str, tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]]) -> None:
    for name, (unchanged, changed) in zip(labels(curves), curves.values(), strict=True):
        axes.plot(100 * unchanged, 100 * changed, lw=1.3, label=name)
    axes.plot([0, 100], [0, 100], "--", color="#8c8c8c", lw=1, label="by chance")
    axes.set(xlabel="unchanged images rejected, %", ylabel="changed images rejected, %")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, title="area under the curve", title_fontsize=8)


@drawing
def changed(images: Float[np.ndarray, "r m c h w"], names: Sequence[str]) -> Figure:
    """A row for each change: what becomes of some images.

    Args:
        images: With pixels in [0, 1].
        names: Of the changes.
    """
    shown = labels(names)
    rows, columns, _, height, width = images.shape
    left, tall = inches(shown, 10.0) + 0.2, INCHES * rows * height / width
    figure = canvas(left + INCHES * columns + 0.1, tall + 0.2, layout="none")
    axes = placed(figure, left, 0.1, INCHES * columns, tall)
    high = tiles.show(axes, images)
    axes.set_yticks([(row + 0.5) * high for row in range(rows)], shown, fontsize=SIZE)
    axes.set_xticks([])
    tiles.bare(axes)
    return figure
