"""How image files become the pixels that one network takes."""

import io
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.data.image_files import opened, reason, recognized
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import MODES, Fit, is_transparent, of_8_bits, opaque
from capsnet_dist.plugins import Image, Model


@dataclass(frozen=True)
class Reading:
    """How image files become the pixels that one network takes.

    Args:
        image: Channels, height and width of its images.
        fit: How the pictures that it was trained with became pixels. Where that is not known, pictures are stretched to
            the size, over the whole area that a pixel comes from, so that thin strokes survive.
        background: Shade behind transparent pixels, from 0, black, to 255.
        is_inverted: Whether light is made dark and dark light, before pads are added.

    Raises:
        UserError: networks of so many channels cannot be given an image file.
    """

    image: Image
    fit: Fit | None = None
    background: int = 0
    is_inverted: bool = False

    def __post_init__(self) -> None:
        if self.image[0] not in MODES:
            raise UserError(f"The network takes {self.image[0]} channels: an image file gives 1 (gray) or 3 (colour).")

    @classmethod
    def of(cls, model: Model, background: int | None = None, *, is_inverted: bool = False) -> "Reading":
        """How files become the pixels of a network; without a background on that of its training."""
        fit = model.fit
        if background is None:
            background = 0 if fit is None else fit.background
        return cls(model.image if fit is None else fit.image, fit, background, is_inverted)

    def __call__(self, file: Path) -> "Read":
        """The pixels of an image file.

        Raises:
            UserError: the file is missing, broken, too large or, without a `fit`, of more than 8 bits.
        """
        with _one_error(str(file)), opened(file) as picture:
            return self._read(picture, str(file))

    def sent(self, data: bytes, name: str) -> "Read":
        """The pixels of an image file that is in memory.

        Args:
            data: What the file holds.
            name: What messages call it.

        Raises:
            UserError: the file is broken, too large or, without a `fit`, of more than 8 bits.
        """
        with _one_error(name), recognized(io.BytesIO(data), name) as picture:
            return self._read(picture, name)

    def _read(self, picture: Any, name: str) -> "Read":
        from PIL import ImageOps

        seen = picture.size[::-1], is_transparent(picture), getattr(picture, "is_animated", False)
        if self.fit is None and picture.mode[0] in "IF":
            raise UserError(f"{name} has more than 8 bits a pixel (mode {picture.mode}): convert it to 8 first.")
        if self.fit is not None:
            self.fit.draft(picture)
        flat = opaque(of_8_bits(ImageOps.exif_transpose(picture)), self.background).convert(MODES[self.image[0]])
        flat = ImageOps.invert(flat) if self.is_inverted else flat
        return Read(torch.from_numpy(self._pixels(flat)), *seen)

    def _pixels(self, picture: Any) -> UInt8[np.ndarray, "c h w"]:
        """The pixels of an upright picture with the channels of the network."""
        from PIL import Image as Pillow

        if self.fit is not None:
            return self.fit(picture)
        _, height, width = self.image
        pixels = np.array(picture.resize((width, height), Pillow.Resampling.BILINEAR))
        return rearrange(pixels, "h w c -> c h w") if pixels.ndim == 3 else pixels[np.newaxis]


class Read(NamedTuple):
    """What was found in an image file."""

    pixels: UInt8[Tensor, "c h w"]
    """As the network takes them."""
    size: tuple[int, int]
    """Height and width in the file."""
    is_transparent: bool
    """Whether it says which pixels are transparent."""
    is_animated: bool
    """Whether it holds more than the first picture, which is taken."""


@contextmanager
def _one_error(name: str) -> Generator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} cannot be read as an image: {reason(error)}.") from error
