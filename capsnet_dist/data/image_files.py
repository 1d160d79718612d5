"""Image files as the pixels that a network takes."""

import os
import stat
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import MODES, Fit
from capsnet_dist.plugins import Image
from capsnet_dist.screen.console import say

MAX_PIXELS = 50_000_000  # a large camera's; a small file may unpack to far more
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not those for which Pillow starts other programs
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of the files that count as images in a folder."""

_limit = threading.Lock()  # Pillow's own limit is a global


@contextmanager
def opened(file: Path) -> Generator[Any]:
    """An image file, opened by Pillow; what its first bytes announce is checked before its pixels take memory.

    Raises:
        UserError: it is no ordinary file, no image of a known format, or has too many pixels.
        OSError: it cannot be opened.
    """
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    kind = os.stat(file).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # a pipe, which would be waited for
        raise UserError(f"{file} cannot be read as an image: it is no ordinary file.")
    with _limit:
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None  # ours comes below, and theirs may only warn
        try:
            picture = Pillow.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise UserError(f"{file} is no image, or of another kind than {', '.join(FORMATS)}.") from error
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit
    with picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise UserError(f"{file} has {height}x{width} pixels, more than {MAX_PIXELS:,}: make it smaller first.")
        yield picture


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line; Pillow raises a dozen kinds, such as SyntaxError and struct.error."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


def fit_picture(file: Path, fit: Fit) -> UInt8[Tensor, "c h w"]:
    """The pixels of an image file, by the preprocessing that a network was trained with.

    Raises:
        UserError: the file is missing, broken or too large.
    """
    with _one_error(file), opened(file) as picture:
        return torch.from_numpy(fit(picture))


def read_picture(file: Path, image: Image) -> UInt8[Tensor, "c h w"]:
    """The pixels of an image file for a network saved without preprocessing; a change of size is said.

    The picture is stretched to the size, over the whole area that a pixel comes from, so that thin strokes survive.

    Raises:
        UserError: the file is missing, broken, too large or of more than 8 bits, or networks of so many channels
            cannot be given an image file.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    channels, height, width = image
    if channels not in MODES:
        raise UserError(f"The network takes {channels} channels: an image file gives 1 (gray) or 3 (colour).")
    with _one_error(file), opened(file) as picture:
        if picture.mode[0] in "IF":
            raise UserError(f"{file} has more than 8 bits a pixel (mode {picture.mode}): convert it to 8 first.")
        upright = ImageOps.exif_transpose(picture)
        if upright.size != (width, height):
            size = "x".join(map(str, reversed(upright.size)))
            say(f"{file} resized from {size} to {height}x{width} (height x width).")
        pixels = np.array(upright.convert(MODES[channels]).resize((width, height), Pillow.Resampling.BILINEAR))
    return rearrange(torch.from_numpy(pixels), "h w c -> c h w" if channels == 3 else "h w -> 1 h w")


@contextmanager
def _one_error(file: Path) -> Generator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{file} cannot be read as an image: {reason(error)}.") from error
