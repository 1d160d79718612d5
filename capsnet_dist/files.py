"""Files: reading what may be anything, only ordinary ones and no more than was agreed, and writing for good."""

import errno
import itertools
import json
import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from capsnet_dist.errors import UserError

MAX_JSON = 1_000_000  # bytes: room for the names of some 20,000 classes
WITHOUT_SYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EROFS}
"""What `fsync` answers on a file system that does not have it."""


@contextmanager
def ordinary(file: Path) -> Generator[BufferedReader]:
    """A file opened for reading; a pipe or a device, which may never end, is refused.

    Raises:
        UserError: it cannot be opened or read, or is no ordinary file.
    """
    try:
        how = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # without waiting for a pipe's other end
        with open(os.open(file, how), "rb") as data:
            if not stat.S_ISREG(os.fstat(data.fileno()).st_mode):
                raise UserError(f"{file} cannot be read: it is no ordinary file.")
            yield data
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from error


def size(data: BinaryIO) -> int:
    """How many bytes an opened file has."""
    return os.fstat(data.fileno()).st_size


def read_bytes(file: Path, limit: int) -> bytes:
    """The contents of an ordinary file of at most `limit` bytes.

    Raises:
        UserError: it cannot be read, is no ordinary file or is longer.
    """
    with ordinary(file) as data:
        if (found := size(data)) > limit:
            raise UserError(f"{file} has more than {limit:,} bytes: {found:,}.")
        return data.read(found)


def read_json(file: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        UserError: it cannot be read, is too large or is not JSON.
    """
    data = read_bytes(file, MAX_JSON)
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as JSON: {error}") from error


def shipped(name: str) -> Path:
    """A folder that travels with the package: inside it where it is installed, beside it in the repository."""
    package = Path(__file__).resolve().parent
    return next(folder for folder in (package / name, package.parent / name) if folder.is_dir())


def expanded(word: str) -> Path:
    """A path, with a home folder in the place of `~`: a shell leaves it in `--flag=~/folder`."""
    return Path(os.path.expanduser(word))


def is_path(word: str) -> bool:
    """Whether the system could have a file of that name."""
    try:
        return b"\0" not in os.fsencode(word)
    except UnicodeEncodeError:
        return False


def new_folder(wanted: Path) -> Path:
    """Make a folder of that name, or with the first number after it that no other has: `bench`, `bench-2`.

    Raises:
        OSError: it cannot be made.
    """
    for number in itertools.count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise AssertionError("numbers have no end")


def sync(descriptor: int) -> None:
    """Wait until a file, or the names in a folder, are on the disk, where the file system can say so.

    Raises:
        OSError: the disk is full or gone.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in WITHOUT_SYNC:
            raise


def write_new(file: Path, content: bytes) -> None:
    """Write a file that was not there, and wait until it is on the disk.

    Raises:
        OSError: the disk is full or gone.
    """
    with file.open("xb") as opened:
        opened.write(content)
        opened.flush()
        sync(opened.fileno())


@contextmanager
def replacing(file: Path) -> Generator[Path]:
    """Where to write what then becomes a file, or takes the place of an older one: a reader sees either, never a part.

    Nobody else writes there, even if several write the same file at once: the last one prevails.

    Raises:
        OSError: the disk is full or gone.
    """
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=file.parent) as beside:
        new = Path(beside) / file.name
        yield new
        new.replace(file)


def write_whole(file: Path, text: str) -> None:
    """Write a text file, as `replacing` says; when this returns it is on the disk.

    Raises:
        OSError: the disk is full or gone.
    """
    with replacing(file) as new:
        write_new(new, text.encode("utf-8", "backslashreplace"))


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, on a system that opens folders.

    Raises:
        OSError: the disk is gone.
    """
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync(handle)
    finally:
        os.close(handle)
