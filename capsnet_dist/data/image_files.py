"""Image files: which ones there are, and how they are opened, whatever they hold."""

import errno
import glob
import io
import os
import stat
import threading
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from capsnet_dist.errors import UserError

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
