"""The binary matrices of NORB, plain or gzipped."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from torch import Tensor

from capsnet_dist.data.download import require_md5
from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary
from capsnet_dist.text import reason

KINDS = {0x1E3D4C55: np.dtype("u1"), 0x1E3D4C54: np.dtype("<i4")}  # bytes and integers


def read_matrix(file: Path, shape: tuple[int, ...], md5: str) -> UInt8[Tensor, "..."] | Int32[Tensor, "..."]:
    """The entries of a matrix, if it is the published one.

    Four bytes say their type, four the number of axes, then comes each size, at least three of them, then the entries;
    all numbers are little-endian.

    Args:
        file: Plain, or gzipped if its name ends with .gz.
        shape: The sizes that it must have.
        md5: Checksum of the plain file.

    Raises:
        UserError: it cannot be read, or is damaged or another one.
    """
    length = 8 + 4 * max(len(shape), 3)
    with ordinary(file) as opened:
        stream: Any = gzip.GzipFile(fileobj=opened) if file.suffix == ".gz" else opened
        try:
            head = stream.read(length)
            numbers = struct.unpack_from(f"<{len(head) // 4}i", head)
            kind = KINDS.get(numbers[0]) if numbers else None
            if kind is None or numbers[1 : 2 + len(shape)] != (len(shape), *shape):
                raise UserError(
                    f"{file} is no matrix of {' x '.join(map(str, shape))} entries: it begins with {numbers}."
                )
            entries = np.zeros(shape, kind)
            found = _fill(entries, stream)
            rest = stream.read(1)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{file} cannot be unpacked: {reason(error)}. Copy it again.") from error
    if found != entries.nbytes or rest:
        raise UserError(f"{file} is damaged or another file: {entries.nbytes:,} bytes of entries expected.")
    digest = hashlib.md5(head, usedforsecurity=False)
    digest.update(entries.data)
    require_md5(file, digest.hexdigest(), md5)
    return torch.from_numpy(entries)


def _fill(entries: np.ndarray, stream: Any) -> int:
    """Read into an array; how many bytes there were."""
    view, found = entries.data.cast("B"), 0
    while found < len(view) and (number := stream.readinto(view[found:])):
        found += number
    return found
