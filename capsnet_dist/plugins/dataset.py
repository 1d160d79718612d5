"""Data sets, and what some of them know besides their images and labels."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsnet_dist.images.fit import Fit
from capsnet_dist.images.made import Made
from capsnet_dist.images.stored import Stored


class Split(NamedTuple):
    """Images and labels of one part of a data set."""

    images: UInt8[Tensor, "n c h w"] | Stored | Made
    """Their pixels, in memory or in a file, or what makes them when they are needed."""
    labels: Int64[Tensor, "n *m"]
    """The class of each, or of each of m objects, by its position in the data set's `classes`."""

    @property
    def is_resident(self) -> bool:
        """Whether the images are in memory, on the device, or made there."""
        return not isinstance(self.images, Stored)

    @property
    def pixels(self) -> UInt8[Tensor, "n c h w"]:
        """The images of a split that is in memory."""
        assert isinstance(self.images, Tensor), "select() first reads images from their file"
        return self.images

    def select(self, indices: Int64[Tensor, " m"]) -> "Split":
        """The samples with these indices, in memory, on the device."""
        return Split(self.images[indices], self.labels[indices.to(self.labels.device)])

    def apart(self, indices: Int64[Tensor, " b"]) -> tuple[UInt8[Tensor, "b c h w"], UInt8[Tensor, "b m c h w"] | None]:
        """The images of some samples, in memory, and each of their objects alone; None where that is not known."""
        images = self.images
        return images.apart(indices) if isinstance(images, Made) else (images[indices], None)

    def part(self, indices: Int64[Tensor, " m"]) -> "Split":
        """The samples with these indices, where they are."""
        images = self.images[indices] if isinstance(self.images, Tensor) else self.images.part(indices)
        return Split(images, self.labels[indices])

    def to(self, device: torch.device) -> "Split":
        """The same samples on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@runtime_checkable
class Dataset(Protocol):
    """Labelled images. Built as `Dataset(*, options)`."""

    classes: tuple[str, ...]
    """Name of each class."""

    def split(self, name: str) -> Split:
        """The split called "train" or "test"."""
        ...


@runtime_checkable
class LightOnDark(Protocol):
    """A data set of light strokes on a dark ground; dark ones on a light ground, as on paper, are other pictures."""

    is_light_on_dark: bool
    """Whether it is so: `predict` then says when pictures are not."""


@runtime_checkable
class PublishedDataset(Protocol):
    """A data set that is on the Hugging Face Hub as well."""

    hub: str
    """Its repository there, which model cards link to."""


@runtime_checkable
class FittedDataset(Protocol):
    """A data set made of pictures, whose network takes other pictures in the same way.

    Several processes may ask it for a split at once: it locks what it writes.
    """

    fit: Fit | None
    """How a picture becomes the pixels of an image; saved with the network. Its fields are options of the data set.

    None where these images were no pictures.
    """


@runtime_checkable
class NamedDataset(Protocol):
    """A data set that knows where its images come from."""

    def names(self, name: str) -> Sequence[str]:
        """The file of each image of the split called "train" or "test", in its order."""
        ...


@runtime_checkable
class GroupedDataset(Protocol):
    """A data set whose images may belong together, such as those of one person: no division separates them."""

    def groups(self, name: str) -> Int64[Tensor, " n"] | None:
        """The number of the group of each image of a split; None where each stands for itself."""
        ...
