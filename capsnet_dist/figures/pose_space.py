"""Poses of class capsules, seen from where they spread the most."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64

from capsnet_dist.figures.canvas import MANY, PALETTE, Figure, canvas, drawing, inches, ink, labels, page

MARKERS = "os^Dv<>Pp*"
LARGEST = 30
"""Classes that can be told apart; of more, those with most images are named."""
FEW = 15
"""Classes whose names have room among the points, and below each other beside them."""
LEGEND = "true class"


def flatten(poses: Float[np.ndarray, "n d"]) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " 2"]]:
    """The two principal components of poses, and which share of their variance each holds."""
    centred = poses.astype(np.float64) - poses.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    variance = np.pad(scale**2, (0, 2))
    share = variance[:2] / max(float(variance.sum()), 1e-30)
    points = np.pad(left * scale, ((0, 0), (0, 2)))[:, :2]
    return points, share


@drawing
def pose_space(poses: Float[np.ndarray, "n d"], true: Int64[np.ndarray, " n"], classes: Sequence[str]) -> Figure:
    """Each image as a point where the pose of its class capsule lies, in the plane in which poses differ the most.

    Args:
        poses: Pose of the predicted class capsule of each image.
        true: The class of each image.
        classes: Names of the classes.
    """
    points, share = flatten(poses)
    present, count = np.unique(true, return_counts=True)
    named: list[int] = sorted(present[np.argsort(-count, kind="stable")][:LARGEST].tolist())
    names = dict(zip(named, labels([classes[index] for index in named], longest=24), strict=True))
    columns = 1 if len(named) <= FEW else 2
    figure = canvas(4.9 + columns * (0.7 + inches([LEGEND, *names.values()], 8.0)), 5.0)
    axes = figure.subplots()
    colours = PALETTE if len(named) <= len(PALETTE) else MANY
    rest = ~np.isin(true, named)
    axes.scatter(*points[rest].T, s=8, color="#8c8c8c", alpha=0.5, lw=0, label="other classes" if rest.any() else None)
    for number, index in enumerate(named):
        own = points[true == index]
        marker = MARKERS[(number + number // len(MANY)) % len(MARKERS)]  # another one where colours begin anew
        colour = colours[number % len(colours)]
        axes.scatter(*own.T, s=14, marker=marker, color=colour, edgecolor=ink(), lw=0.3, label=names[index])
    for index in named if columns == 1 else []:
        middle = np.median(points[true == index], axis=0)
        box = {"boxstyle": "round,pad=0.2", "facecolor": page(), "edgecolor": "none", "alpha": 0.8}
        axes.text(*middle, names[index], ha="center", va="center", fontweight="bold", color=ink(), bbox=box)
    axes.set(xlabel=f"first principal component ({share[0]:.0%} of the variance)")
    axes.set(ylabel=f"second principal component ({share[1]:.0%} of the variance)")
    axes.set_title("Poses of the class capsules of images, coloured by their true class", loc="left", fontsize=9)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), title=LEGEND, ncols=columns)
    return figure
