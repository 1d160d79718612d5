"""A network on the page, and what is known about the images that it was trained with."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from capsnet_dist.analysis import iterations, views
from capsnet_dist.analysis.receptive import Extent, extent
from capsnet_dist.images.ground import Frame, Ground, frame, ground
from capsnet_dist.plugins import Model, Split

SECONDS = 2.0
"""How long test images are classified before the page is there; then further ones, while nobody asks."""
CHUNK, FURTHER, LOOKED = 32, 16, 512  # test images at a time, at first and then, and in all
KEPT = 32  # images whose poses are kept, so that a slider does not ask the whole network again
REACH = 0.25  # how far a number of a pose is moved (Sabour et al., 2017, figure 4), where poses are no longer than 1

Kind = Literal["length", "activation", "score"]


class Stage:
    """A network that answers, and what is known about its images.

    Args:
        name: What the page calls it.
        model: The network, in evaluation mode.
        tests: Test images with the labels that the network has for them, where there are any.
        missing: Why there are none.
        still: What the network sees of images, where its training cut them.
        is_light_on_dark: Whether it is known to have been trained with such images.
        data: The name of the data set of its training, where that is known.
        accuracy: The share of the test images of its training that it got right, where that is known.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        tests: Split | None,
        missing: str,
        still: Callable[[Tensor], Tensor],
        *,
        is_light_on_dark: bool = False,
        data: str | None = None,
        accuracy: float | None = None,
    ) -> None:
        self.name, self.model, self.tests, self.missing, self.still = name, model, tests, missing, still
        self.is_light_on_dark, self.data, self.accuracy = is_light_on_dark, data, accuracy
        self.known = self._first()
        self._kept: OrderedDict[bytes, views.Seen] = OrderedDict()

    def see(self, pixels: UInt8[np.ndarray, "c h w"]) -> views.Seen:
        """What the network says about one image; the last ones are remembered."""
        key = pixels.tobytes()
        seen = self._kept.pop(key, None)
        if seen is None:
            seen = views.look(self.model, torch.from_numpy(pixels)[None], None)
        self._kept[key] = seen
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return seen

    def look_further(self) -> bool:
        """Classify some more test images; whether there were any left."""
        begin = len(self.known.images)
        if self.tests is None or begin >= min(LOOKED, len(self.tests.labels)):
            return False
        self.known = _joined([self.known, self._look(begin, FURTHER)])
        return True

    def _first(self) -> views.Seen:
        """What the network says about the first test images; about noise where there are none."""
        if self.tests is None:
            noise = torch.rand(8, *self.model.image, generator=torch.Generator().manual_seed(0))
            return views.look(self.model, noise, None)
        deadline, found = time.monotonic() + SECONDS, [self._look(0, CHUNK)]
        for begin in range(CHUNK, min(LOOKED, len(self.tests.labels)), CHUNK):
            if time.monotonic() > deadline:
                break
            found.append(self._look(begin, CHUNK))
        return _joined(found)

    def _look(self, begin: int, number: int) -> views.Seen:
        assert self.tests is not None
        some = self.tests.select(torch.arange(begin, min(begin + number, len(self.tests.labels))))
        return views.look(self.model, self.still(some.pixels), None)

    @cached_property
    def kind(self) -> Kind:
        """What its scores are: lengths of its class capsules, other numbers in [0, 1], or any numbers."""
        scores, lengths = self.known.scores, self.known.poses.norm(dim=-1)
        if bool(((lengths - scores).abs() < 1e-3).all()):
            return "length"
        return "activation" if bool(((scores >= 0) & (scores <= 1)).all()) else "score"

    @cached_property
    def rebuilds(self) -> bool:
        """Whether it has a decoder."""
        return self.rebuild(self.known.poses[:1], 0) is not None

    @torch.no_grad()
    def rebuild(self, poses: Float[Tensor, "m j d"], of: int) -> Float[Tensor, "m c h w"] | None:
        """Images from the capsule of one class; None without a decoder."""
        return self.model.rebuild(poses, torch.full((len(poses),), of))

    def usual(self, of: int) -> Float[Tensor, "2 d"] | None:
        """Between which values the numbers of a class's pose lie in 96 % of its images; None where they are few."""
        return views.usual_poses(self.known, of)

    @cached_property
    def reach(self) -> float:
        """How far a slider goes: as in the paper, or as far as poses differ where they are longer."""
        low, high = views.ends(self.known.poses[torch.arange(len(self.known.poses)), self.known.predicted])
        return max(REACH, float(f"{float((high - low).max()):.1g}") if self.kind != "length" else REACH)

    @cached_property
    def extent(self) -> Extent:
        """Where the map of the parts that vote for the classes lies on the image."""
        layer = iterations.class_layer(self.model)
        assert layer is not None
        return extent(self.model, layer)

    @cached_property
    def ground(self) -> Ground | None:
        """Whether all its images are light on dark, or dark on light."""
        seen = None if self.tests is None else ground(self._pixels)
        return "dark" if seen is None and self.is_light_on_dark else seen

    @cached_property
    def frame(self) -> Frame | None:
        """Where objects lie on its images, if these have a ground."""
        return None if self.ground is None or self.tests is None else frame(self._pixels, self.ground)

    @property
    def _pixels(self) -> UInt8[np.ndarray, "n c h w"]:
        return (255 * self.known.images).round().byte().numpy()


def _joined(parts: Sequence[views.Seen]) -> views.Seen:
    images, scores = torch.cat([seen.images for seen in parts]), torch.cat([seen.scores for seen in parts])
    return views.Seen(images, scores, torch.cat([seen.poses for seen in parts]), None)


class Sample(NamedTuple):
    """A test image, and the classes of what is on it."""

    pixels: UInt8[np.ndarray, "c h w"]
    labels: list[int]


def sample(stage: Stage, index: int) -> Sample:
    """One of the test images of a stage that has some; after the last comes the first again."""
    assert stage.tests is not None
    some = stage.tests.select(torch.tensor([index % len(stage.tests.labels)]))
    return Sample(stage.still(some.pixels)[0].numpy(), some.labels.flatten().tolist())
