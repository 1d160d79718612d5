"""A moving average of the weights (Polyak and Juditsky, 1992)."""

import copy

import torch

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

    @torch.no_grad()
    def update(self, model: Model, step: int) -> None:
        """Move towards the weights after a step; buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
