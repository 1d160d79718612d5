"""Margin loss (Sabour et al., 2017, eq. 4), with the harder second phase of DeepCaps (Rajasegaran et al., 2019)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.loss.weights import ClassWeights, Weighing
from capsnet_dist.objects import Labels, present
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Amount, Share


@losses.register("margin")
class Margin(Weighing):
    """Margin loss (Sabour et al., 2017, eq. 4), for one object in an image or several of different classes.

    The code of DeepCaps (Rajasegaran et al., 2019) ends with a phase of harder margins: `hard_after=0.5` makes it the
    second half of the training.

    Args:
        positive: Length above which the capsule of the true class costs nothing, m+.
        negative: Length below which the capsule of another class costs nothing, m-.
        absent: Weight of the classes that are not there, lambda.
        scale: "paper": summed over the classes. "authors": half the mean over the classes, as in the authors' code,
            which makes their reconstruction weigh 20 times as much in comparison when there are 10.
        hard_after: Share of the training after which the hard values take over; 1 is never.
        hard_positive: m+ from then on; 0.95 is DeepCaps' value.
        hard_negative: m- from then on; 0.05 is theirs.
        hard_absent: lambda from then on; 0.8 is theirs.
        class_weights: "balanced": training counts each class as much as any other, whatever its share of the training
            images, by the weight n / (classes x count). Evaluation measures without weights.

    Raises:
        UserError: margins that are no lengths or cross, a negative weight, or a share outside [0, 1].
    """

    takes_several = takes_mixed = True

    def __init__(
        self,
        *,
        positive: Share = 0.9,
        negative: Share = 0.1,
        absent: Amount = 0.5,
        scale: Literal["paper", "authors"] = "paper",
        hard_after: Share = 1.0,
        hard_positive: Share = 0.95,
        hard_negative: Share = 0.05,
        hard_absent: Amount = 0.8,
        class_weights: ClassWeights = "none",
    ) -> None:
        super().__init__(class_weights)
        self.soft, self.hard = (positive, negative, absent), (hard_positive, hard_negative, hard_absent)
        for high, low, weight in (self.soft, self.hard):
            if not 0 <= low <= high <= 1:
                raise UserError(f"Margins {high} and {low}: must be lengths, 0 <= negative <= positive <= 1.")
            if not weight >= 0:
                raise UserError(f"absent={weight}: the weight of the absent classes must be at least 0.")
        if not 0 <= hard_after <= 1:
            raise UserError(f"hard_after={hard_after}: must be a share of the training, from 0 to 1.")
        self.scale, self.hard_after = scale, hard_after

    def __call__(
        self, output: Output, images: Float[Tensor, "b *o c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "margin"."""
        positive, negative, absent = self.hard if progress > self.hard_after else self.soft
        classes = output.scores.shape[1]
        there = present(labels, output.scores)
        too_short = (positive - output.scores).relu().square()
        too_long = (output.scores - negative).relu().square()
        loss = self.mean((there * too_short + absent * (1 - there) * too_long).sum(dim=-1), labels)
        return {"margin": loss if self.scale == "paper" else loss / (2 * classes)}
