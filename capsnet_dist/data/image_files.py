"""Image files as the pixels that a network takes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Image
from capsnet_dist.screen.console import say

MAX_PIXELS = 50_000_000  # a large camera's; a small file may unpack to far more
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not those for which Pillow starts other programs
MODES = {1: "L", 3: "RGB"}


def read_picture(file: Path, image: Image) -> UInt8[Tensor, "c h w"]:
    """The pixels of an image file in the channels and the size given; a change of size is said on standard error.

    Raises:
        UserError: the file is missing, broken, too large or of more than 8 bits, or networks of so many channels
            cannot be given an image file.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    channels, height, width = image
    if channels not in MODES:
        raise UserError(f"The network takes {channels} channels: an image file gives 1 (gray) or 3 (colour).")
    try:
        with _opened(file) as picture:
            _check(file, picture)
            upright = ImageOps.exif_transpose(picture)
            if upright.size != (width, height):
                size = "x".join(map(str, reversed(upright.size)))
                say(f"{file} resized from {size} to {height}x{width} (height x width).")
            # Bilinear over the whole area that a pixel comes from, so that thin strokes survive
            pixels = np.array(upright.convert(MODES[channels]).resize((width, height), Pillow.Resampling.BILINEAR))
    except UserError:
        raise
    except Exception as error:  # Pillow raises a dozen kinds, SyntaxError and struct.error among them
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
        raise UserError(f"{file} cannot be read as an image: {reason}.") from error
    return rearrange(torch.from_numpy(pixels), "h w c -> c h w" if channels == 3 else "h w -> 1 h w")


def _opened(file: Path) -> Any:
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    if file.exists() and not (file.is_file() or file.is_dir()):  # a pipe, which would be waited for
        raise UserError(f"{file} cannot be read as an image: it is no ordinary file.")
    limit, Pillow.MAX_IMAGE_PIXELS = (
        Pillow.MAX_IMAGE_PIXELS,
        None,
    )  # we have a limit of our own, and only warnings there
    try:
        return Pillow.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UserError(f"{file} is no image, or of another kind than {', '.join(FORMATS)}.") from error
    finally:
        Pillow.MAX_IMAGE_PIXELS = limit


def _check(file: Path, picture: Any) -> None:
    """Refuse what the first bytes of a file announce, before its pixels take memory."""
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UserError(f"{file} has {height}x{width} pixels, more than {MAX_PIXELS:,}: make it smaller first.")
    if picture.mode[0] in "IF":
        raise UserError(f"{file} has more than 8 bits a pixel (mode {picture.mode}): convert it to 8 first.")
