"""Images side by side, enlarged so that every pixel stays a sharp square."""

from typing import Any

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float, UInt8

SHARP = 80
"""Pixels of a tile's side, at least: those of smaller images become squares of pixels."""


def sheet(images: Float[np.ndarray, "r m c h w"]) -> UInt8[np.ndarray, "y x 4"]:
    """Rows of images with pixels in [0, 1], as one sheet with transparent gaps, of which each tile has the same share.

    One channel is grey, three or more are red, green and blue; of two, which are two views, the first is shown.
    """
    channels, height, width = images.shape[2:]
    shown = images[:, :, :3] if channels >= 3 else repeat(images[:, :, :1], "r m 1 h w -> r m c h w", c=3)
    factor = -(-SHARP // min(height, width))
    gap = -(-max(height, width) * factor // 24)
    colours = np.clip(255 * shown, 0, 255).round().astype(np.uint8)
    opaque = np.concatenate([colours, np.full_like(colours[:, :, :1], 255)], axis=2)
    tiles = repeat(opaque, "r m c h w -> r m (h y) (w x) c", y=factor, x=factor)
    framed = np.pad(tiles, ((0, 0), (0, 0), (gap, gap), (gap, gap), (0, 0)))
    return rearrange(framed, "r m h w c -> (r h) (m w) c")


def show(axes: Any, images: Float[np.ndarray, "r m c h w"], top: float = 0.0) -> float:
    """Draw rows of images, each tile one unit wide; x counts the columns from 0, y goes down from `top`.

    Returns:
        How high a tile is.
    """
    drawn = sheet(images)
    rows, columns = images.shape[:2]
    high = (drawn.shape[0] / rows) / (drawn.shape[1] / columns)
    axes.imshow(drawn, extent=(0, columns, top + rows * high, top), interpolation="nearest")
    return high


def whole(axes: Any, image: Float[np.ndarray, "c h w"]) -> None:
    """Draw one image, a pixel one unit wide."""
    drawn = sheet(image[None, None])
    opaque = drawn[..., 3] > 0
    _, height, width = image.shape
    inner = drawn[opaque.any(axis=1)][:, opaque.any(axis=0)]
    axes.imshow(inner, extent=(0, width, height, 0), interpolation="nearest")


def bare(axes: Any) -> None:
    """Leave out the frame and the ticks, of which labels may stay."""
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
