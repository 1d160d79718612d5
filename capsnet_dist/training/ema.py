"""A moving average of the weights (Polyak and Juditsky, 1992)."""

import copy

import torch
from torch import Tensor

from capsnet_dist.plugins import Model


class MovingAverage:
    """An exponential moving average, which forgets the first steps sooner.

    Args:
        model: The network in training.
        decay: Share of the average that is kept at a step; in the first steps (1 + step) / (10 + step) if that is less.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)

    def share(self, step: int) -> float:
        """How far the average moves after a step."""
        return 1 - min(self.decay, (1 + step) / (10 + step))

    @torch.no_grad()
    def update(self, model: Model, share: float | Tensor) -> None:
        """Move towards the weights; buffers are copied."""
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, share)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
