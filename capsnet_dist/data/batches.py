"""Training batches: cut, augmented and scaled on the device, the same for any number of processes."""

from typing import cast

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.data.order import Order, draws, key
from capsnet_dist.images.stored import Stored
from capsnet_dist.plugins import Augmentation, Image, Split, to_unit


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

    def fetch(self, indices: Int64[Tensor, "m b"]) -> None:
        """Read the images of a step to where `make_fetched` finds them; nothing to do where all are in memory."""
        images = self.training.images
        if not isinstance(images, Stored):
            return
        if self.window.shape != (*indices.shape, *images.image):
            self.window = torch.empty((*indices.shape, *images.image), dtype=torch.uint8, device=images.device)
        images.read(self.order.samples(indices.flatten()), self.window.flatten(0, 1))

    def make_fetched(
        self, indices: Int64[Tensor, "m b"], micro: int, key: Int64[Tensor, ""]
    ) -> tuple[Float[Tensor, "b c y x"], Int64[Tensor, " b"]]:
        """Images in [0, 1] and labels of a micro-batch of the step whose images were fetched; waits for nothing."""
        if self.training.is_resident:
            return self.make(indices[micro], key)
        return self._scaled(self.window[micro], indices[micro], key)

    def make(
        self, indices: Int64[Tensor, " b"], key: Int64[Tensor, ""]
    ) -> tuple[Float[Tensor, "b c y x"], Int64[Tensor, " b"]]:
        """Images in [0, 1] and labels of some samples, all on the device; waits for nothing but a file."""
        return self._scaled(self.training.select(self.order.samples(indices)).pixels, indices, key)

    def shard(self, step: int, part: int, parts: int) -> tuple[Float[Tensor, "b c y x"], Int64[Tensor, " b"]]:
        """Images and labels of the part-th of equal parts of a step's global batch."""
        device = self.training.labels.device
        return self.make(self.order.shard(step, part, parts).to(device), self.key(step).to(device))

    def _scaled(
        self, images: UInt8[Tensor, "b c h w"], indices: Int64[Tensor, " b"], key: Int64[Tensor, ""]
    ) -> tuple[Float[Tensor, "b c y x"], Int64[Tensor, " b"]]:
        augmented = self.augmentation(images, draws(key, indices, self.augmentation.num_draws))
        return to_unit(augmented, self.dtype), self.training.labels[self.order.samples(indices)]
