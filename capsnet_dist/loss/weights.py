"""Weights of classes in a loss, by which rare ones count as much as frequent ones."""

import copy
from abc import ABC, abstractmethod
from typing import Literal

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.objects import Labels
from capsnet_dist.plugins import Output

ClassWeights = Literal["none", "balanced"]


def balanced_weights(counts: Int64[Tensor, " j"]) -> Float[Tensor, " j"]:
    """n / (classes x count) for each class, among those that have images: on average over all n images it is 1.

    >>> import torch
    >>> from capsnet_dist.loss.weights import balanced_weights
    >>> balanced_weights(torch.tensor([30, 10])).tolist()
    [0.6666666666666666, 2.0]
    """
    return counts.sum().double() / ((counts > 0).sum() * counts.clamp(min=1))


class Weighing(ABC):
    """A loss that may weigh samples by their classes.

    Args:
        class_weights: "none": each sample counts as much. "balanced": each class does.
    """

    def __init__(self, class_weights: ClassWeights) -> None:
        self.class_weights = class_weights
        self.weights: Float[Tensor, " j"] | None = None

    def weighed(self, counts: Int64[Tensor, " j"]) -> "Weighing":
        """The same loss for a training set with so many images of each class; classes of one size need no weights."""
        if self.class_weights == "none" or len(counts[counts > 0].unique()) == 1:
            return self
        other = copy.copy(self)
        other.weights = balanced_weights(counts)
        return other

    @abstractmethod
    def __call__(
        self, output: Output, images: Float[Tensor, "b *o c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Named terms, each made by `mean`."""

    def mean(self, losses: Float[Tensor, " b"], labels: Labels) -> Float[Tensor, ""]:
        """The mean over the samples, each with the weight of its class, or the mean of those of its objects."""
        if self.weights is None:
            return losses.mean()
        if labels.is_floating_point():
            raise UserError("Mixed samples cannot be weighed by their classes: leave out mixup, or class_weights.")
        weights = self.weights.to(losses.dtype)[rearrange(labels, "b ... -> b (...)")]
        return (weights.mean(dim=1) * losses).mean()
