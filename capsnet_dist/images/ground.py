"""What images of a data set have in common: a dark or a light ground, and how large and thick their objects are."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

Ground = Literal["dark", "light"]

DARK, LIGHT = 64, 191  # quarters of the shades: a border between them is neither
SHARE = 0.9  # of the images that must agree
INK = 64  # how much a pixel of an object differs from the ground, at least


class Frame(NamedTuple):
    """Where objects lie on images, and how thick their strokes are, as shares of height and width; medians."""

    side: float
    """The larger of height and width of an object."""
    y: float
    """Its middle, from the top."""
    x: float
    """Its middle, from the left."""
    stroke: float
    """Thickness of a stroke, as a share of the width."""


def ground(images: UInt8[np.ndarray, "n c h w"]) -> Ground | None:
    """Whether nearly all images have a dark, or a light, border; None where they have neither."""
    borders = np.array([border(image) for image in images])
    if len(borders) and (borders < DARK).mean() >= SHARE:
        return "dark"
    return "light" if len(borders) and (borders > LIGHT).mean() >= SHARE else None


def border(image: UInt8[np.ndarray, "c h w"]) -> float:
    """The median shade of the outermost pixels."""
    return float(np.median(np.concatenate([image[:, [0, -1]].ravel(), image[:, :, [0, -1]].ravel()])))


def is_turned(image: UInt8[np.ndarray, "c h w"], wanted: Ground | None) -> bool:
    """Whether an image is dark on light where a network knows light on dark, or the other way round."""
    if wanted is None:
        return False
    return border(image) > 127 if wanted == "dark" else border(image) < 128


def frame(images: UInt8[np.ndarray, "n c h w"], wanted: Ground) -> Frame | None:
    """Where objects lie on images with such a ground; None where they are all empty."""
    shades = images.mean(axis=1)
    inks = [shade if wanted == "dark" else 255 - shade for shade in shades]
    found = [_frame(ink) for ink in inks if (ink > INK).any()]
    return Frame(*np.median(np.array(found), axis=0).tolist()) if found else None


def _frame(ink: Float[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
    """Side, middle and thickness: of a stroke, whose area is thickness x length and whose outline is 2 x length."""
    height, width = ink.shape
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    (top, bottom), (left, right) = ((places[0], places[-1] + 1) for places in (rows, columns))
    around = np.pad(ink, 1)
    outline = sum(float(np.abs(np.diff(around, axis=axis)).sum()) for axis in (0, 1)) * np.pi / 4  # along x and y
    side = max((bottom - top) / height, (right - left) / width)
    return side, (top + bottom) / 2 / height, (left + right) / 2 / width, 2 * float(ink.sum()) / outline / width
