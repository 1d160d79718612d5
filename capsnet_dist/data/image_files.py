"""Image files as the pixels that a network takes."""

import errno
import glob
import io
import os
import stat
import threading
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import MODES, Fit, is_transparent, of_8_bits, opaque
from capsnet_dist.plugins import Image, Model

MAX_PIXELS = 50_000_000  # a large camera's; a small file may unpack to far more
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # not those for which Pillow starts other programs
ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Of the files that count as images in a folder."""

SMALL = 2**18  # bytes of a file that is read whole: decoders ask for a few bytes at a time
_limit = threading.Lock()  # Pillow's own limit is a global


def opened(file: Path | str) -> AbstractContextManager[Any]:
    """An image file, opened by Pillow; what its first bytes announce is checked before its pixels take memory.

    Raises:
        UserError: it is no ordinary file, no image of a known format, or has too many pixels.
        OSError: it cannot be opened.
    """
    data = _contents(file)
    return recognized(data, file) if isinstance(data, io.BytesIO) else _streamed(data, file)


@contextmanager
def _streamed(data: io.BufferedReader, file: Path | str) -> Generator[Any]:
    """A picture that is read as it is decoded, and its file, which is then closed."""
    with data, recognized(data, file) as picture:
        yield picture


def recognized(source: io.BytesIO | io.BufferedReader, name: Path | str) -> Any:
    """A picture whose pixels are not decoded yet, and that can be.

    Raises:
        UserError: it is no image of a known format, or has too many pixels.
    """
    from PIL import Image as Pillow

    with _limit:
        limit, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None  # ours comes below, and theirs may only warn
        try:
            picture = Pillow.open(source, formats=FORMATS)
        except Pillow.UnidentifiedImageError as error:
            raise UserError(f"{name} is no image, or of another kind than {', '.join(FORMATS)}.") from error
        finally:
            Pillow.MAX_IMAGE_PIXELS = limit
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UserError(f"{name} has {height}x{width} pixels, more than {MAX_PIXELS:,}: make it smaller first.")
    return picture


def _contents(file: Path | str) -> io.BytesIO | io.BufferedReader:
    """A file, opened; a small one is read already.

    Raises:
        UserError: it is no ordinary file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # waits for no pipe's other end
    descriptor = os.open(file, flags)
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        if not stat.S_ISREG(found.st_mode):
            raise UserError(f"{file} cannot be read as an image: it is no ordinary file.")
        content = os.read(descriptor, SMALL)
        if len(content) == found.st_size:
            return io.BytesIO(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return os.fdopen(os.dup(descriptor), "rb")
    finally:
        os.close(descriptor)


def reason(error: Exception) -> str:
    """Why an image cannot be read, in one line; Pillow raises a dozen kinds, such as SyntaxError and struct.error."""
    return getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__


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


def find_images(words: Iterable[Path]) -> list[Path]:
    """The files that words name: a file itself, a folder all images in and below it, a pattern what matches it.

    Raises:
        UserError: a folder has no images, or nothing matches a pattern.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir():
            found += map(Path, images_below(word))
        elif glob.has_magic(str(word)) and not os.path.lexists(word):  # a shell may have left it to us
            matching = sorted(map(Path, glob.glob(str(word), recursive=True)))
            if not matching:
                raise UserError(f"{word} matches no file in {Path.cwd()}.")
            found += find_images(matching)
        else:
            found.append(word)
    return found


def images_below(folder: Path) -> list[str]:
    """The image files in and below a folder, by name.

    Raises:
        UserError: there are none.
    """
    walked = os.walk(folder, followlinks=True)
    found = sorted(os.path.join(place, name) for place, _, names in walked for name in names if _is_image(name))
    if not found and folder.is_dir():
        raise UserError(f"{folder} has no images. Known endings: {', '.join(ENDINGS)}.")
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


@contextmanager
def _one_error(name: str) -> Generator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name} cannot be read as an image: {reason(error)}.") from error
