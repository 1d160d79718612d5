"""What a training is made of besides network and data: losses, augmentations and schedules."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.objects import Labels
from capsnet_dist.plugins.model import Output


@runtime_checkable
class Loss(Protocol):
    """What training minimises. Built as `Loss(*, options)`; the sum of its named terms is the loss.

    Images may have several objects each, with a label for each, if its class says so: `takes_several = True`. Where it
    is known what each object looks like alone, `images` are these, b x m x c x h x w. Where samples are mixed, and it
    says `takes_mixed = True`, labels are the share of each class in each image, floating point, b x j.
    """

    def __call__(
        self,
        output: Output,
        images: Float[Tensor, "b *o c h w"],
        labels: Labels,
        progress: float,
    ) -> dict[str, Float[Tensor, ""]]:
        """Named terms, each a mean over the samples; `progress` goes from 0 to 1 in the course of the training."""
        ...


@runtime_checkable
class WeighingLoss(Protocol):
    """A loss that can make up for classes of different sizes.

    Training minimises what `weighed` gives; evaluation measures the loss as it is built, so that runs can be compared.
    """

    def weighed(self, counts: Int64[Tensor, " j"]) -> Loss:
        """The same loss for a training set with so many images of each class, which lie where the scores will."""
        ...


class Augmentation(ABC):
    """Random changes to training images, whole batches at once. Built as `Augmentation(*, options)`.

    It may change height and width, to the same for all images. What it does to an image may depend on nothing but that
    image and its draws, and on no value that the host would have to wait for. One that mixes samples gets another
    image, and its draws, with each: which one follows from the sample's number, the epoch and the seed alone.
    """

    num_draws: int
    """How many random numbers each image takes."""
    mixes: bool = False
    """Whether it mixes each image with that of another sample, and their classes with them."""

    @abstractmethod
    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c y x"]:
        """The images, changed as their draws from the uniform distribution on [0, 1) say."""

    def still(self, images: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c y x"]:
        """What evaluation sees of images, of the same size: the images themselves, unless they are cut."""
        return images

    def views(self, images: UInt8[Tensor, "b c h w"]) -> "list[UInt8[Tensor, 'b c y x']]":
        """All that evaluation and prediction see of images, `still` first: scores are the mean over these."""
        return [self.still(images)]

    def mix(
        self,
        images: UInt8[Tensor, "b c h w"],
        others: UInt8[Tensor, "b c h w"],
        draws: Float[Tensor, "b k"],
        other_draws: Float[Tensor, "b k"],
    ) -> tuple[UInt8[Tensor, "b c y x"], Float[Tensor, " b"]]:
        """Each image mixed with another, and its own share, at least a half; called where it `mixes`."""
        raise NotImplementedError(f"{type(self).__name__} says that it mixes, and does not say how")

    def members(self) -> "list[Augmentation]":
        """This one, and those that it is made of."""
        return [self]


@runtime_checkable
class Schedule(Protocol):
    """The learning rate over time. Built as `Schedule(steps, *, options)`: how long the training is."""

    def __call__(self, step: int) -> float:
        """Factor of the peak learning rate at a step."""
        ...
