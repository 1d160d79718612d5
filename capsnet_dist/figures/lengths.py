"""Lengths of class capsules: what a network claims, and how often it is right."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, placed

BINS = 10
FEW = 20
"""Images whose numbers are read off a plain axis."""
SCORE = "score of the predicted class (CapsNet: length of its capsule)"


@drawing
def lengths(longest: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> Figure:
    """How long the capsules of right and of wrong predictions are, and which share of a length's predictions is right.

    Args:
        longest: Length of the predicted class capsule of each image, in [0, 1].
        right: Whether the prediction is true.
    """
    figure = canvas(9.4, 4.1, layout="none")
    left, calibration = (placed(figure, start, 0.6, 3.8, 2.6) for start in (1.0, 5.5))
    _draw_histogram(left, longest, right)
    _draw_calibration(calibration, longest, right)
    error = calibration_error(longest, right)
    title = f"{_counted(len(right))}; score and share of right predictions differ by {error:.3f} on average"
    figure.suptitle(title, fontsize=9, y=0.98)
    return figure


def calibration_error(longest: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> float:
    """Mean distance of length and share of right predictions, over bins of length, weighted by their images."""
    return sum(one.images * abs(one.length - one.share) for one in _bins(longest, right)) / max(1, len(right))


def _counted(number: int) -> str:
    return f"{number:,} image{'' if number == 1 else 's'}"


class _Bin(NamedTuple):
    """Images of about the same length."""

    middle: float
    """Of the bin."""
    length: float
    """Mean of the images."""
    share: float
    """Of right predictions."""
    images: int
    """How many there are."""


def _bins(longest: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> list[_Bin]:
    """The bins that have any images."""
    place = np.minimum((longest * BINS).astype(int), BINS - 1)
    chosen = {(number + 0.5) / BINS: place == number for number in range(BINS)}
    return [
        _Bin(middle, float(longest[c].mean()), float(right[c].mean()), int(c.sum()))
        for middle, c in chosen.items()
        if c.any()
    ]


def _draw_histogram(axes: Any, longest: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> None:
    from matplotlib.colors import to_rgb

    parts = (("right", right, PALETTE[0], ""), ("wrong", ~right, PALETTE[5], "////"))
    for name, chosen, colour, hatch in parts:
        counts, edges = np.histogram(longest[chosen], bins=2 * BINS, range=(0, 1))
        label = f"{name}: {_counted(int(chosen.sum()))}"
        style = {"facecolor": (*to_rgb(colour), 0.35), "edgecolor": colour, "hatch": hatch, "lw": 1.4}
        axes.stairs(counts, edges, fill=True, label=label, **style)
    axes.set(xlabel=SCORE, ylabel="images", yscale="symlog" if len(right) > FEW else "linear", xlim=(0, 1))
    if len(right) <= FEW:
        axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _draw_calibration(axes: Any, longest: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]) -> None:
    bins = _bins(longest, right)
    _, length, share, count = (np.array(column) for column in zip(*bins, strict=True))
    error = np.sqrt(share * (1 - share) / count)
    axes.plot([0, 1], [0, 1], "--", color="#8c8c8c", lw=1, label="ideal")
    style = {"fmt": "o-", "color": PALETTE[0], "lw": 1.3, "markersize": 4, "capsize": 2}
    axes.errorbar(length, share, error, label="measured, ± standard error", **style)
    numbers = {one.middle: f"{one.images:,}" for one in bins}  # means of neighbours may lie close together
    for x, number in ({-0.5 / BINS: "images:"} | numbers).items():
        place = {"transform": axes.get_xaxis_transform(), "ha": "left", "va": "bottom", "rotation": 40, "fontsize": 7}
        axes.text(x - 0.01, 1.0, number, **place)
    axes.set(xlabel=SCORE, ylabel="share of right predictions")
    axes.set(xlim=(0, 1.04), ylim=(-0.04, 1.04))
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.1), ncols=2)
