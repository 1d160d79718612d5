"""What routing does, iteration by iteration: which positions of an image speak for which class, and how surely."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from capsnet_dist.figures import tiles
from capsnet_dist.figures.canvas import PALETTE, Figure, canvas, drawing, inches, labels

INCHES = 1.25  # of a map


@drawing
def couplings(
    maps: Float[np.ndarray, "t j y x"],
    image: Float[np.ndarray, "c h w"],
    scores: Float[np.ndarray, " j"],
    entropy: Float[np.ndarray, " t"],
    extent: tuple[float, float, float, float],
    classes: Sequence[str],
) -> Figure:
    """A row for each iteration, a column for each class: where parts give it more or less than an even share.

    Args:
        maps: Mean coupling of the parts at each position, in each iteration, less an even share, for the classes that
            are shown.
        image: The image, with pixels in [0, 1].
        scores: Scores of these classes.
        entropy: Of the couplings of a part, over that of even ones, in each iteration.
        extent: Left, right, bottom and top of the map on the image, in pixels.
        classes: Names of the classes that are shown.
    """
    iterations, shown = maps.shape[:2]
    height, width = image.shape[1:]
    figure = canvas(1.9 + INCHES * (shown + 1), 1.2 + INCHES * iterations * height / width)
    all_axes = figure.subplots(iterations, shown + 1, squeeze=False)
    names = _fitting(classes)
    limit = max(float(np.abs(maps).max()), 1e-6)
    drawn = None
    for row, first in enumerate(all_axes[:, 0]):
        _show_image(first, image)
        even = "\nbegins with even shares" if row == 0 and not maps[0].any() else ""
        first.set_ylabel(f"iteration {row + 1}\nentropy {entropy[row]:.3f}{even}", fontsize=8)
    for (row, column), axes in np.ndenumerate(all_axes[:, 1:]):
        drawn = axes.imshow(maps[row, column], cmap="PuOr_r", vmin=-limit, vmax=limit, extent=extent)
        _outline(axes, image)
        if row == 0:
            axes.set_title(f"class {names[column]}\nscore {scores[column]:.2f}", fontsize=8)
    all_axes[0, 0].set_title("image", fontsize=8)
    bar = figure.colorbar(drawn, ax=all_axes.ravel().tolist(), aspect=20, shrink=0.8)
    bar.set_label("mean coupling less an even share")
    return figure


@drawing
def agreement(
    entropy: Float[np.ndarray, "t b"], winner: Float[np.ndarray, "t b"], others: Float[np.ndarray, "t b"]
) -> Figure:
    """How routing settles: over its iterations, how sure the parts are, and how far their votes point to one class.

    Args:
        entropy: Of the couplings of a part, over that of even ones, for each image.
        winner: Mean agreement of the parts with the predicted class.
        others: The same, mean over the other classes.
    """
    figure = canvas(8.0, 3.2)
    left, right = figure.subplots(1, 2)
    _band(left, entropy, "all parts", 0)
    _band(right, winner, "predicted class", 0)
    _band(right, others, "mean of the other classes", 5)
    left.set(ylabel="entropy of the couplings (even shares: 1)")
    right.set(ylabel="agreement of votes and class, û · v / |v|", ylim=(min(0.0, right.get_ylim()[0]), None))
    figure.suptitle(
        f"Mean over the parts; median of {entropy.shape[1]:,} images, and a band for 80 % of them", fontsize=9
    )
    for axes in (left, right):
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        axes.set(xlabel="iteration of the routing", xticks=range(1, len(entropy) + 1))
        axes.grid(visible=True, lw=0.4, alpha=0.5)
    return figure


def _fitting(classes: Sequence[str]) -> list[str]:
    """Names that are no wider than a map."""
    fits = (names for length in range(16, 4, -1) if inches(names := labels(classes, length), 8.0) < INCHES - 0.45)
    return next(fits, labels(classes, 4))


def _band(axes: Any, values: Float[np.ndarray, "t b"], name: str, colour: int) -> None:
    """The median over the images, and where eight of ten are."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=1)
    steps = range(1, len(values) + 1)
    axes.fill_between(steps, low, high, color=PALETTE[colour], alpha=0.2, lw=0)
    axes.plot(steps, middle, "o-" if colour else "s-", color=PALETTE[colour], lw=1.4, markersize=4, label=name)


def _show_image(axes: Any, image: Float[np.ndarray, "c h w"]) -> None:
    tiles.whole(axes, image)
    axes.set(xticks=[], yticks=[])


def _outline(axes: Any, image: Float[np.ndarray, "c h w"]) -> None:
    """The map in the frame of the image, whose bright regions are outlined."""
    height, width = image.shape[1:]
    grey = image.mean(axis=0)
    middle = (float(grey.min()) + float(grey.max())) / 2
    if grey.max() > grey.min():
        around = np.pad(grey, 1)  # closes the outline of what the edge cuts
        places = np.arange(width + 2) - 0.5, np.arange(height + 2) - 0.5
        axes.contour(*places, around, [middle], colors="#303030", linewidths=0.8)
    axes.set_facecolor("#f7f6f6")  # that of an even share in the map, on a dark page too
    axes.spines[:].set_visible(True)
    axes.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
