"""IDX files (LeCun et al., 1998): their shape in big-endian numbers, then one byte an entry."""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary, size

UNSIGNED_BYTE = 8  # the format's code for the type of the entries


class Published(NamedTuple):
    """An IDX file as its authors published it."""

    name: str
    shape: tuple[int, ...]
    sha256: str


def read_idx(folder: Path, published: Published) -> UInt8[Tensor, "..."]:
    """The entries of an IDX file, if it is the published one to the last bit.

    Args:
        folder: Holds it.
        published: What it must be.

    Raises:
        UserError: it is missing, cut short or changed, with what was expected and what was found.
    """
    file, shape = folder / published.name, published.shape
    header = bytes([0, 0, UNSIGNED_BYTE, len(shape)]) + b"".join(side.to_bytes(4, "big") for side in shape)
    expected = len(header) + math.prod(shape)
    mend = "Delete it and it is downloaded again, or copy it again."
    with ordinary(file) as opened:
        if (found := size(opened)) != expected:
            raise UserError(f"{file} is damaged or another file: {expected:,} bytes expected, {found:,} found. {mend}")
        data = opened.read(expected)
    if (sha256 := hashlib.sha256(data).hexdigest()) != published.sha256 or not data.startswith(header):
        raise UserError(
            f"{file} is damaged or another file: sha256 {published.sha256} expected, {sha256} found. {mend}"
        )
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=len(header)).reshape(shape)
