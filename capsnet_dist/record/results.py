"""What a network achieves on a split."""

from dataclasses import dataclass

from jaxtyping import Int64
from torch import Tensor


@dataclass(frozen=True)
class Evaluation:
    """What a network achieves on a split."""

    confusion: Int64[Tensor, "true predicted"]
    """How often each true class was predicted as each class."""
    terms: dict[str, float]
    """Mean of each term of the loss."""

    @property
    def num_samples(self) -> int:
        """Size of the split."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """Share of right predictions, in [0, 1]."""
        return int(self.confusion.trace()) / self.num_samples

    @property
    def loss(self) -> float:
        """Sum of the terms."""
        return sum(self.terms.values())
