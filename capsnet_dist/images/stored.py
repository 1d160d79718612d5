"""Images that stay in a file and are read by number, so that their count is bounded by the disk and not by memory."""

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsnet_dist.errors import UserError

SHARE_OF_GPU = 4  # a set goes to the GPU's memory if it fits this part of what is free
_HAS_PREADV = hasattr(os, "preadv")
CHUNK = 2**26  # bytes copied there in one go, through memory of the host


class Stored:
    """uint8 images in a file, one after another. Of a tensor it has what a split needs: shape, device, `[]` and `to`.

    The file is not mapped: memory stays flat however many images are read, and a file cut short is an error of this
    program where a map would end it with SIGBUS.

    Args:
        file: Where they are.
        image: Channels, height and width of each.
        offset: Bytes before the first.
        rows: Which of them these are.
        digest: Of all pixels in the file.
        device: Where images go when they are read.

    Raises:
        UserError: the file cannot be opened.
    """

    dtype = torch.uint8
    ndim = 4

    def __init__(
        self,
        file: Path,
        image: tuple[int, int, int],
        offset: int,
        rows: Int64[Tensor, " n"],
        digest: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.file, self.image, self.offset, self.rows, self.digest = file, image, offset, rows, digest
        self.device = torch.device(device)
        try:
            self.descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}.") from error
        if hasattr(os, "posix_fadvise"):  # or the first reads bring many neighbours along
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        weakref.finalize(self, os.close, self.descriptor)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Stored({self.file}, {'x'.join(map(str, self.shape))})"

    @property
    def shape(self) -> torch.Size:
        """Samples, channels, height and width."""
        return torch.Size((len(self), *self.image))

    def __getitem__(self, indices: Int64[Tensor, " m"] | slice) -> UInt8[Tensor, "m c h w"]:
        """Some images, read to the device.

        Raises:
            UserError: the file ends before one of them.
        """
        rows = self.rows[indices.cpu() if isinstance(indices, Tensor) else indices]
        images = torch.empty((len(rows), *self.image), dtype=torch.uint8, device=self.device)
        self._copy(rows, images)
        return images

    def read(self, indices: Int64[Tensor, " m"], target: UInt8[Tensor, "m c h w"]) -> None:
        """Read some images to where the program wants them, on the device.

        Raises:
            UserError: the file ends before one of them.
        """
        self._copy(self.rows[indices.cpu()], target)

    def part(self, indices: Int64[Tensor, " m"]) -> "Stored":
        """Some images, still in the file."""
        return Stored(self.file, self.image, self.offset, self.rows[indices.cpu()], self.digest, self.device)

    def to(self, device: torch.device | str) -> "Stored | UInt8[Tensor, 'n c h w']":
        """All of them on a GPU with room for them; else these in the file, read to the device."""
        device = torch.device(device)
        there = Stored(self.file, self.image, self.offset, self.rows, self.digest, device)
        size = math.prod(self.shape)
        if device.type != "cuda" or size > torch.cuda.mem_get_info(device)[0] // SHARE_OF_GPU:
            return there
        images = torch.empty(self.shape, dtype=torch.uint8, device=device)
        step = max(1, CHUNK // math.prod(self.image))
        for at in range(0, len(self), step):
            images[at : at + step] = there[at : at + step]
        return images

    def _copy(self, rows: Int64[Tensor, " m"], target: UInt8[Tensor, "m c h w"]) -> None:
        is_here = target.device.type == "cpu"
        images = target if is_here else torch.empty(target.shape, dtype=torch.uint8, pin_memory=True)
        self._read(rows.tolist(), images.numpy().reshape(-1))
        if not is_here:
            target.copy_(images, non_blocking=True)  # PyTorch keeps pinned memory until the copy is done

    def _read(self, rows: Sequence[int], target: UInt8[np.ndarray, " bytes"]) -> None:
        """Fill an array with these images, one after another."""
        size, whole = math.prod(self.image), target.data  # slices of a view cost half of what an array's do
        together = len(rows) if _are_neighbours(rows) else 1
        span = together * size
        for start, row in zip(range(0, len(whole), span), rows[::together], strict=True):
            place = self.offset + row * size
            count = read_at(self.descriptor, whole[start : start + span], place)
            while count < span:  # no call gives more than 2 GiB, and a network's file system may give less
                more = read_at(self.descriptor, whole[start + count : start + span], place + count)
                if not more:
                    missing = row + count // size
                    raise UserError(f"{self.file} ends before image {missing}: delete it, and it is made again.")
                count += more


def _are_neighbours(rows: Sequence[int]) -> bool:
    """Whether images lie one after another in the file, so that one call reads them all."""
    return len(rows) > 1 and rows[-1] - rows[0] == len(rows) - 1 and rows == [*range(rows[0], rows[-1] + 1)]


def read_at(descriptor: int, target: memoryview, place: int) -> int:
    """Read into memory from a place in a file; how many bytes there were."""
    if _HAS_PREADV:
        return os.preadv(descriptor, (target,), place)
    os.lseek(descriptor, place, os.SEEK_SET)  # Windows
    content = os.read(descriptor, len(target))
    target[: len(content)] = content
    return len(content)
