"""IDX files (LeCun et al., 1998): their shape in big-endian numbers, then one byte an entry."""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.data.download import download, unpack
from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary, size
from capsnet_dist.plugins import Split

UNSIGNED_BYTE = 8  # the format's code for the type of the entries
MEND = "Delete it and it is downloaded again, or copy it again."


class Published(NamedTuple):
    """An IDX file as its authors published it."""

    name: str
    shape: tuple[int | None, ...]
    """Its sizes; None where any will do."""
    sha256: str | None = None
    """None where no checksum is known of the unpacked file."""


def read_idx(folder: Path, published: Published) -> UInt8[Tensor, "..."]:
    """The entries of an IDX file, if it is the published one to the last bit.

    Args:
        folder: Holds it.
        published: What it must be.

    Raises:
        UserError: it is missing, cut short or changed, with what was expected and what was found.
    """
    file, rank = folder / published.name, len(published.shape)
    with ordinary(file) as opened:
        header = opened.read(4 + 4 * rank)
        shape = published.shape
        if None in shape and len(header) == 4 + 4 * rank:  # as its header says
            written = [int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(rank)]
            shape = tuple(side if known is None else known for known, side in zip(shape, written, strict=True))
        sides = [side or 0 for side in shape]
        expected = 4 + 4 * rank + math.prod(sides)
        if (found := size(opened)) != expected:
            raise UserError(f"{file} is damaged or another file: {expected:,} bytes expected, {found:,} found. {MEND}")
        data = header + opened.read(expected)
    sha256 = hashlib.sha256(data).hexdigest()
    begins = bytes([0, 0, UNSIGNED_BYTE, rank]) + b"".join(side.to_bytes(4, "big") for side in sides)
    if published.sha256 not in (None, sha256):
        raise UserError(
            f"{file} is damaged or another file: sha256 {published.sha256} expected, {sha256} found. {MEND}"
        )
    if not data.startswith(begins):
        raise UserError(f"{file} is damaged or another file: it begins with {header.hex()}, not {begins.hex()}. {MEND}")
    return torch.frombuffer(bytearray(data), dtype=torch.uint8, offset=len(header)).reshape(sides)


def read_pair(raw: Path, images: Published, labels: Published) -> Split:
    """The split whose images and labels are two IDX files, one channel each.

    Raises:
        UserError: one of them is missing, cut short or changed, or they do not belong together.
    """
    pixels, classes = read_idx(raw, images), read_idx(raw, labels)
    if len(pixels) != len(classes):
        raise UserError(f"{raw / images.name} has {len(pixels)} images, {labels.name} {len(classes)} labels.")
    return Split(rearrange(pixels, "n h w -> n 1 h w"), classes.long())


def split_as_torchvision(kind: str, root: Path, files: tuple[Published, Published]) -> Split:
    """A split of MNIST, or of a set in its likeness, whose files are where torchvision has them, or are fetched there.

    Args:
        kind: torchvision's name of the set.
        root: Folder that holds KIND/raw.
        files: Images and labels.

    Raises:
        UserError: a file is neither there nor to be had, cut short or changed.
    """
    raw = root / kind / "raw"
    for published in files:
        fetch_as_torchvision(kind, raw, published.name)
    return read_pair(raw, *files)


def fetch_as_torchvision(kind: str, raw: Path, name: str) -> None:
    """Fetch one of the four files of MNIST, or of a set in its likeness, from where torchvision finds it.

    Args:
        kind: torchvision's name of the set.
        raw: Folder in which it belongs.
        name: Its name, unpacked.

    Raises:
        UserError: it is not to be had.
    """
    from torchvision import datasets

    if (raw / name).exists():
        return
    known, archive = getattr(datasets, kind), f"{name}.gz"
    mend = f"Put the four files of {kind} there, or name the folder that holds {kind}/raw: --data.root FOLDER."
    unpack(download(raw, archive, [mirror + archive for mirror in known.mirrors], dict(known.resources)[archive], mend))
