"""Reading files that may be anything: only ordinary ones, and no more of them than was agreed."""

import json
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from capsnet_dist.errors import UserError

MAX_JSON = 1_000_000  # bytes: room for the names of some 20,000 classes


@contextmanager
def ordinary(file: Path) -> Generator[BinaryIO]:
    """A file opened for reading; a pipe or a device, which may never end, is refused.

    Raises:
        UserError: it cannot be opened or read, or is no ordinary file.
    """
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as data:  # without waiting for a pipe's other end
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
        return data.read(limit)


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
