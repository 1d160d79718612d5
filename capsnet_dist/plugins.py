"""The kinds of plugin: what each takes and gives, and the registry that holds it.

Axes: `b` batch, `i` part, `j` whole, `p` pose size of a part, `d` pose size of a whole, `c` channel, `h w` position.
"""

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.given import checked
from capsnet_dist.images.made import Made
from capsnet_dist.images.normalization import Normalization, make_normalization
from capsnet_dist.images.stored import Stored
from capsnet_dist.objects import Labels
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.votes import Votes

Image = tuple[int, int, int]
"""Channels, height and width of one image."""


class Routing(nn.Module, ABC):
    """How parts agree on wholes. Built as `Routing(parts, part_dim, wholes, dim, *, options)`.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Their pose size, d.
    """

    needs_activations: ClassVar[bool] = False
    """Whether it cannot do without the activations of the parts."""
    makes_activations: ClassVar[bool] = True
    """Whether the activations of its wholes say anything."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `capsnet_dist.testing` that it fails by design, each with the reason."""

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int) -> None:
        super().__init__()
        self.parts, self.part_dim, self.wholes, self.dim = parts, part_dim, wholes, dim

    @abstractmethod
    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """The wholes, from the votes and the activations of their parts."""

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{self.parts} x {self.part_dim} -> {self.wholes} x {self.dim}"


class Stem(nn.Module, ABC):
    """Images to feature maps. Built as `Stem(image, *, options)`.

    Args:
        maps: Channels, height and width of what it gives.
    """

    def __init__(self, maps: Image) -> None:
        super().__init__()
        self.maps = maps

    @abstractmethod
    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""


class Primary(nn.Module, ABC):
    """Feature maps to the first capsules. Built as `Primary(maps, *, options)`: channels, height, width.

    Args:
        outputs: The capsules it makes.
    """

    def __init__(self, outputs: Grid) -> None:
        super().__init__()
        self.outputs = outputs

    @abstractmethod
    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """The capsules, type by type, row by row."""


class Layer(nn.Module, ABC):
    """Capsules to capsules. Built as `Layer(inputs, *, options)`: the grid of the capsules below.

    Args:
        inputs: The capsules below.
        outputs: The capsules it makes.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `capsnet_dist.testing` that it fails by design, each with the reason."""

    def __init__(self, inputs: Grid, outputs: Grid) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    @abstractmethod
    def forward(self, capsules: Capsules) -> Capsules:
        """The capsules of the next level."""


class Decoder(nn.Module, ABC):
    """Class capsules to images. Built as `Decoder(image, classes, dim, *, options)`.

    Called with several labels for each sample, b x m, it rebuilds each object alone, b x m x c x h x w.
    """

    def __call__(
        self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b *m"]
    ) -> Float[Tensor, "b *m c h w"] | None:
        """One image of each sample, or one for each of its labels."""
        return super().__call__(poses, labels) if labels.ndim == 1 else self.objects(poses, labels)

    def objects(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b m"]) -> Float[Tensor, "b m c h w"] | None:
        """Each object alone: rebuilt from the capsule of one label after another."""
        found = [image for label in labels.unbind(dim=1) if (image := self(poses, label)) is not None]
        return torch.stack(found, dim=1) if found else None

    @abstractmethod
    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"] | None:
        """Images in [0, 1] rebuilt from the capsule of each sample's label; None where nothing is rebuilt."""


class Output(NamedTuple):
    """What a network says about a batch of images."""

    scores: Float[Tensor, "b j"]
    """One score a class; the largest is the prediction."""
    poses: Float[Tensor, "b j d"]
    """Poses of the class capsules."""
    reconstruction: Float[Tensor, "b *m c h w"] | None
    """The input rebuilt from one class capsule, or None without a decoder; each object alone where it has several."""


class Prediction(NamedTuple):
    """What a network predicts for a batch of images."""

    labels: Int64[Tensor, " b"]
    """The predicted class of each image."""
    scores: Float[Tensor, "b j"]
    """The score of each class: for CapsNet the length of its capsule, in [0, 1]; lengths do not sum to one."""
    names: list[str]
    """Name of the predicted class of each image."""


class Model(nn.Module, ABC):
    """Images to class capsules. Built as `Model(image, classes, *, options)`: the image's shape, how many classes."""

    published_normalization: ClassVar[Normalization] = "none"
    """What its authors do to pixels first: what is done where nobody chooses."""

    image: Image
    """Channels, height and width of the images it takes."""
    classes: tuple[str, ...]
    """Name of each class."""
    choice: "Choice[Model] | None"
    """What it was built from, when `build` or `load` made it."""
    fit: Fit | None
    """How its pictures became pixels; None where the data set did not say, or had no pictures."""

    normalization: Normalization
    """What is done to pixels before `forward` sees them."""
    pixel_normalization: nn.Module | None
    """The module that does it; None where they stay as they are."""

    def __init__(self, image: Image, classes: int) -> None:
        super().__init__()
        self.choice = None
        self.fit = None
        self.image = image
        self.classes = tuple(str(label) for label in range(classes))
        self.normalize_pixels("network")

    def __call__(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """What `forward` says of images with pixels in [0, 1], which are normalized first, here and nowhere else."""
        if self.pixel_normalization is not None:
            images = self.pixel_normalization(images)
        return super().__call__(images, labels)

    def normalize_pixels(self, kind: Normalization) -> None:
        """Choose what is done to pixels first; numbers that follow from training images are yet to be measured."""
        self.normalization = self.published_normalization if kind == "network" else kind
        self.pixel_normalization = make_normalization(self.normalization, self.image[0])

    @abstractmethod
    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores, class capsules and reconstruction of images whose pixels were in [0, 1] and are now normalized.

        Labels name the capsule to reconstruct from, or several to reconstruct an object from each; without them it is
        the one with the largest score.
        """

    def rebuild(
        self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b *m"]
    ) -> Float[Tensor, "b *m c h w"] | None:
        """Images from given class capsules; None where the network has no decoder, or nobody wants to see them."""
        if not _rebuilds.get():
            return None
        decoder = getattr(self, "decoder", None)
        return decoder(poses, labels) if isinstance(decoder, Decoder) else None

    @contextmanager
    def evaluating(self) -> Generator[None]:
        """Be in evaluation mode for a while; then each part is in its mode of before, also after an error.

        Threads may do so at once: the last to end gives the modes back.
        """
        with _modes_lock:
            users, modes = _modes.get(id(self), (0, {module: module.training for module in self.modules()}))
            _modes[id(self)] = users + 1, modes
            self.eval()
        try:
            yield
        finally:
            with _modes_lock:
                users, modes = _modes.pop(id(self))
                if users > 1:
                    _modes[id(self)] = users - 1, modes
                else:
                    for module, mode in modes.items():
                        module.training = mode

    @torch.no_grad()
    def predict(self, images: Tensor | np.ndarray, *, batch_size: int = 256) -> Prediction:
        """Classify any number of images, on the device of the network; several threads may do so at once.

        Nothing is rebuilt. A network of half precision is computed in float32, as routing always is.

        Args:
            images: b x c x h x w, uint8, or floating point in [0, 1].
            batch_size: How many are computed together: fewer take less memory, and give the same scores up to rounding.

        Raises:
            UserError: images of another shape or type, float pixels outside [0, 1], or a batch size below 1.
        """
        if batch_size < 1:
            raise UserError(f"batch_size={batch_size}: must be at least 1.")
        pixels = checked(images, self.image)
        parameter = next(self.parameters())
        if parameter.dtype in (torch.float16, torch.bfloat16):
            return copy.deepcopy(self).float().predict(pixels, batch_size=batch_size)
        with self.evaluating(), without_images():
            chunks = (chunk.to(parameter.device) for chunk in pixels.split(batch_size))
            scores = [self(to_unit(chunk, parameter.dtype)).scores for chunk in chunks]
        joined = torch.cat(scores)
        labels = joined.argmax(dim=-1)
        return Prediction(labels, joined, [self.classes[label] for label in labels.tolist()])


_rebuilds = ContextVar("rebuilds", default=True)
"""Whether networks of this thread rebuild images."""


@contextmanager
def without_images() -> Generator[None]:
    """Let networks do without their decoders for a while: scores and poses do not depend on them."""
    before = _rebuilds.set(False)
    try:
        yield
    finally:
        _rebuilds.reset(before)


_modes: dict[int, tuple[int, dict[nn.Module, bool]]] = {}
"""Of each network that is in evaluation mode for a while: for how many at once, and the modes of its parts before."""
_modes_lock = threading.Lock()


def to_unit(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Pixels in [0, 1]: uint8 divided by 255, floating point as it is."""
    return images.to(dtype) / 255 if images.dtype is torch.uint8 else images.to(dtype)


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


routings = Registry[Routing](
    "routing",
    structure=("parts", "part_dim", "wholes", "dim"),
    builtin="capsnet_dist.routing",
    group="capsnet_dist.routings",
)
stems = Registry[Stem]("stem", structure=("image",), builtin="capsnet_dist.stem", group="capsnet_dist.stems")
primaries = Registry[Primary](
    "primary", structure=("maps",), builtin="capsnet_dist.layer", group="capsnet_dist.primaries"
)
layers = Registry[Layer]("layer", structure=("inputs",), builtin="capsnet_dist.layer", group="capsnet_dist.layers")
decoders = Registry[Decoder](
    "decoder", structure=("image", "classes", "dim"), builtin="capsnet_dist.layer", group="capsnet_dist.decoders"
)
models = Registry[Model](
    "model", structure=("image", "classes"), builtin="capsnet_dist.model", group="capsnet_dist.models"
)
losses = Registry[Loss]("loss", structure=(), builtin="capsnet_dist.loss", group="capsnet_dist.losses")
datasets = Registry[Dataset]("dataset", structure=(), builtin="capsnet_dist.data", group="capsnet_dist.datasets")
augmentations = Registry[Augmentation](
    "augmentation", structure=(), builtin="capsnet_dist.data", group="capsnet_dist.augmentations"
)
optimizers = Registry[torch.optim.Optimizer](
    "optimizer", structure=("parameters", "lr"), builtin="capsnet_dist.optim", group="capsnet_dist.optimizers"
)
schedules = Registry[Schedule](
    "schedule", structure=("steps",), builtin="capsnet_dist.optim", group="capsnet_dist.schedules"
)

REGISTRIES = (
    routings,
    layers,
    primaries,
    stems,
    decoders,
    models,
    losses,
    datasets,
    augmentations,
    optimizers,
    schedules,
)
