"""Training batches: cut, augmented and scaled on the device, the same for any number of processes."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.data.order import Order, draws
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

    def shard(self, step: int, part: int, parts: int) -> tuple[Float[Tensor, "b c h w"], Int64[Tensor, " b"]]:
        """Images in [0, 1] and labels of the part-th of equal parts of a step's global batch."""
        indices = self.order.shard(step, part, parts).to(self.training.labels.device)
        images, labels = self.training.select(indices)
        numbers = draws(self.seed, self.order.epoch(step), indices, self.augmentation.num_draws)
        return to_unit(self.augmentation(images, numbers), self.dtype), labels
