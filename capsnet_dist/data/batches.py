"""Batches of training images: a pure function of the seed and the step, however many processes there are."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.data.order import Order, draws, key, partners
from capsnet_dist.images.stored import Stored
from capsnet_dist.objects import present
from capsnet_dist.plugins import Augmentation, Image, Split, to_unit


class Batch(NamedTuple):
    """Samples as a network and its losses get them."""

    images: Float[Tensor, "b c y x"]
    """Pixels in [0, 1]."""
    labels: Int64[Tensor, "b *m"]
    """Their classes."""
    pictures: Float[Tensor, "b *m c y x"]
    """What reconstructions are compared with: the images, or each of their objects alone."""
    others: Int64[Tensor, " b"] | None = None
    """Where samples are mixed, the classes of those that they are mixed with."""
    shares: Float[Tensor, " b"] | None = None
    """And how much of them is their own."""

    def wanted(self, scores: Float[Tensor, "b j"]) -> Int64[Tensor, "b *m"] | Float[Tensor, "b j"]:
        """Labels as losses take them: of mixed samples the share of each class, in the type of the scores."""
        if self.others is None or self.shares is None:
            return self.labels
        own = rearrange(self.shares.to(scores.dtype), "b -> b 1")
        return own * present(self.labels, scores) + (1 - own) * present(self.others, scores)

    def first(self, number: int) -> "Batch":
        """The first of the samples."""
        return Batch._make(None if part is None else part[:number] for part in self)


class Batches:
    """The training images, batch by batch.

    Args:
        training: All training images, on the device.
        augmentation: Random changes to them.
        order: Which of them make up each batch.
        dtype: Type of the pixels that the network sees.
    """

    def __init__(self, training: Split, augmentation: Augmentation, order: Order, dtype: torch.dtype) -> None:
        self.training, self.augmentation, self.order, self.dtype = training, augmentation, order, dtype
        self.window = torch.empty(0, dtype=torch.uint8)
        """The images of a step that were read from a file, on the device; always the same memory, for CUDA graphs."""

    @property
    def image(self) -> Image:
        """Channels, height and width of what the network sees."""
        return cast(Image, tuple(self.sample(self.training, 1).images.shape[1:]))

    def sample(self, split: Split, number: int) -> Split:
        """The first samples of a split beside these batches, in memory and as evaluation sees them."""
        first = torch.arange(min(number, len(split.labels)), device=split.labels.device)
        chosen = split.select(first)
        return Split(self.augmentation.still(chosen.pixels), chosen.labels)

    def key(self, step: int) -> Int64[Tensor, ""]:
        """What the random numbers of a step's epoch are made from."""
        return key(self.order.seed, self.order.epoch(step))

    def fetch(self, indices: Int64[Tensor, "m b"], key: Int64[Tensor, ""]) -> None:
        """Read the images of a step to where `make_fetched` finds them; nothing to do where all are in memory."""
        images = self.training.images
        if not isinstance(images, Stored):
            return
        indices = self._needed(indices, key)
        if self.window.shape != (*indices.shape, *images.image):
            self.window = torch.empty((*indices.shape, *images.image), dtype=torch.uint8, device=images.device)
        images.read(self.order.samples(indices.flatten()), self.window.flatten(0, 1))

    def make_fetched(self, indices: Int64[Tensor, "m b"], micro: int, key: Int64[Tensor, ""]) -> Batch:
        """A micro-batch of the step whose images were fetched; waits for nothing."""
        if self.training.is_resident:
            return self.make(indices[micro], key)
        return self._batch(self.window[micro], None, self._needed(indices[micro], key), key)

    def make(self, indices: Int64[Tensor, " b"], key: Int64[Tensor, ""]) -> Batch:
        """Some samples, all on the device; waits for nothing but a file."""
        needed = self._needed(indices, key)
        return self._batch(*self.training.apart(self.order.samples(needed)), needed, key)

    def shard(self, step: int, part: int, parts: int) -> Batch:
        """The part-th of equal parts of a step's global batch."""
        device = self.training.labels.device
        return self.make(self.order.shard(step, part, parts).to(device), self.key(step).to(device))

    def _needed(self, indices: Int64[Tensor, "*m b"], key: Int64[Tensor, ""]) -> Int64[Tensor, "*m n"]:
        """The samples of a batch, and behind them those that they are mixed with."""
        if not self.augmentation.mixes:
            return indices
        samples = self.order.samples(indices)
        return torch.cat([indices, partners(key, samples, self.order.num_samples)], dim=-1)

    def _batch(
        self,
        images: UInt8[Tensor, "b c h w"],
        objects: UInt8[Tensor, "b m c h w"] | None,
        indices: Int64[Tensor, " b"],
        key: Int64[Tensor, ""],
    ) -> Batch:
        drawn = draws(key, indices, self.augmentation.num_draws)
        labels = self.training.labels[self.order.samples(indices)]
        if self.augmentation.mixes:
            mixed, shares = self.augmentation.mix(*images.chunk(2), *drawn.chunk(2))
            own, others = labels.chunk(2)
            unit = to_unit(mixed, self.dtype)
            return Batch(unit, own, unit, others, shares)
        ((seen, apart),) = together(lambda some: [self.augmentation(some, drawn)], images, objects)
        unit = to_unit(seen, self.dtype)
        pictures = unit if apart is None else to_unit(apart, self.dtype)
        return Batch(unit, labels, pictures)


def together(
    change: Callable[[Tensor], Sequence[Tensor]],
    images: UInt8[Tensor, "b c h w"],
    objects: UInt8[Tensor, "b m c h w"] | None,
) -> list[tuple[UInt8[Tensor, "b c y x"], UInt8[Tensor, "b m c y x"] | None]]:
    """Change images, each in several ways, and their objects in the same: as further channels of one image."""
    if objects is None:
        return [(changed, None) for changed in change(images)]
    channels = images.shape[1]
    whole = torch.cat([images, rearrange(objects, "b m c h w -> b (m c) h w")], dim=1)
    layers = [rearrange(changed, "b (m c) y x -> b m c y x", c=channels) for changed in change(whole)]
    return [(changed[:, 0], changed[:, 1:]) for changed in layers]
