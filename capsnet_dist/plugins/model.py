"""Networks: what every one is and can do.

Axes: `b` batch, `i` part, `j` whole, `p` pose size of a part, `d` pose size of a whole, `c` channel, `h w` position.
"""

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.given import checked
from capsnet_dist.images.normalization import Normalization, make_normalization
from capsnet_dist.plugins.parts import Decoder, Image
from capsnet_dist.registry import Choice


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
