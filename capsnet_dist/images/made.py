"""Images that are made when they are asked for, so that their count is bounded by nothing."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor


class Made(ABC):
    """uint8 images of several objects, each a pure function of its number. Of a tensor it has what a split needs.

    What makes them runs on their device, in whole batches, and waits for no value of it.

    Args:
        image: Channels, height and width of each.
        rows: Which of them these are.
        digest: Of all that they are made from.
    """

    dtype = torch.uint8
    ndim = 4

    def __init__(self, image: tuple[int, int, int], rows: Int64[Tensor, " n"], digest: str) -> None:
        self.image, self.rows, self.digest = image, rows, digest

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> torch.Size:
        """Samples, channels, height and width."""
        return torch.Size((len(self), *self.image))

    @property
    def device(self) -> torch.device:
        """Where they are made."""
        return self.rows.device

    def __getitem__(self, indices: Int64[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        """Some images."""
        return self.make(self.rows[indices])[0]

    def apart(self, indices: Int64[Tensor, " b"]) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "b m c h w"]]:
        """Some images, and each of their objects alone."""
        return self.make(self.rows[indices])

    @abstractmethod
    def make(self, rows: Int64[Tensor, " b"]) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "b m c h w"]]:
        """The images of these numbers, and each of their objects alone, in the order of their labels."""

    @abstractmethod
    def part(self, indices: Int64[Tensor, " m"]) -> "Made":
        """Some images, not made yet."""

    @abstractmethod
    def to(self, device: torch.device | str) -> "Made":
        """The same images, made on a device."""
