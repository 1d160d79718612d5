"""Spread loss (Hinton et al., 2018, eq. 3)."""

import math
from typing import Literal

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from capsnet_dist.loss.weights import ClassWeights, Weighing
from capsnet_dist.plugins import Output, losses


@losses.register("spread")
class Spread(Weighing):
    """Spread loss: the true class must lead every other by a margin, which grows (Hinton et al., 2018, eq. 3).

    A small margin at first keeps the capsules of lower layers alive.

    Args:
        schedule: How the margin m grows. "authors": 0.2 + 0.79 sigmoid(min(10, 40 progress - 4)), from 0.21 to 0.99, as
            in the authors' code. "paper": linearly from 0.2 to 0.9.
        class_weights: "balanced": training counts each class as much as any other, whatever its share of the training
            images, by the weight n / (classes x count). Evaluation measures without weights.
    """

    def __init__(
        self, *, schedule: Literal["authors", "paper"] = "authors", class_weights: ClassWeights = "none"
    ) -> None:
        super().__init__(class_weights)
        self.schedule = schedule

    def margin(self, progress: float) -> float:
        """The margin m at a share of the training."""
        if self.schedule == "paper":
            return 0.2 + 0.7 * progress
        # Their code has step / 50,000 - 4 and trains for 2,000,000 steps: 40 x progress - 4.
        return 0.2 + 0.79 / (1 + math.exp(-min(10.0, 40.0 * progress - 4.0)))

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "spread"."""
        scores, m = output.scores, self.margin(progress)
        target = scores.gather(1, rearrange(labels, "b -> b 1"))
        other = 1 - one_hot(labels, scores.shape[1]).to(scores.dtype)
        too_close = (m - (target - scores)).relu().square()
        return {"spread": self.mean((other * too_close).sum(dim=-1), labels)}
