"""Training batches: cut, augmented and scaled on the device, the same for any number of processes."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.data.order import Order, draws, key
from capsnet_dist.plugins import Augmentation, Split, to_unit


class Batches:
    """The training images, batch by batch.

    Args:
        training: All training images, on the device.
        augmentation: Random changes to them.
        batch_size: Size of a global batch.
        seed: The run's seed, from which order and augmentation follow.
        dtype: Type of the pixels that the network sees.
    """

    def __init__(
        self, training: Split, augmentation: Augmentation, batch_size: int, seed: int, dtype: torch.dtype
    ) -> None:
        self.training, self.augmentation, self.seed, self.dtype = training, augmentation, seed, dtype
        self.order = Order(len(training.labels), batch_size, seed)

    def key(self, step: int) -> Int64[Tensor, ""]:
        """What the random numbers of a step's epoch are made from."""
        return key(self.seed, self.order.epoch(step))

    def make(
        self, indices: Int64[Tensor, " b"], key: Int64[Tensor, ""]
    ) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]:
        """Images in [0, 1] and labels of some samples, all on the device; waits for nothing."""
        images, labels = self.training.select(indices)
        return to_unit(self.augmentation(images, draws(key, indices, self.augmentation.num_draws)), self.dtype), labels

    def shard(self, step: int, part: int, parts: int) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]:
        """Images and labels of the part-th of equal parts of a step's global batch."""
        device = self.training.labels.device
        return self.make(self.order.shard(step, part, parts).to(device), self.key(step).to(device))
