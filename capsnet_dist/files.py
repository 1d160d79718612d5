"""Reading files that may be anything: only ordinary ones, and never more of them than announced."""

import os
import stat
from pathlib import Path

from capsnet_dist.errors import UserError


def read_bytes(file: Path, limit: int) -> bytes:
    """The contents of an ordinary file: a pipe or a device may never end, so it is refused.

    Args:
        file: Which one; a link is followed.
        limit: The most bytes it may have; no memory is taken for more.

    Raises:
        UserError: it cannot be read, is no ordinary file or is longer.
    """
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as data:  # without waiting for a pipe's other end
            found = os.fstat(data.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UserError(f"{file} cannot be read: it is no ordinary file.")
            if found.st_size > limit:
                raise UserError(f"{file} has more than {limit:,} bytes: {found.st_size:,}.")
            return data.read(limit)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}.") from error
