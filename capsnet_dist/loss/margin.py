"""Margin loss (Sabour et al., 2017, eq. 4)."""

from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import one_hot

from capsnet_dist.plugins import Output, losses


@losses.register("margin")
class Margin:
    """Margin loss (Sabour et al., 2017, eq. 4).

    Args:
        positive: Length above which the capsule of the true class costs nothing, m+.
        negative: Length below which the capsule of another class costs nothing, m-.
        absent: Weight of the classes that are not there, lambda.
        scale: "paper": summed over the classes. "authors": half the mean over the classes, as in the authors' code,
            which makes their reconstruction weigh 20 times as much in comparison when there are 10.
    """

    def __init__(
        self,
        *,
        positive: float = 0.9,
        negative: float = 0.1,
        absent: float = 0.5,
        scale: Literal["paper", "authors"] = "paper",
    ) -> None:
        self.positive, self.negative, self.absent, self.scale = positive, negative, absent, scale

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "margin"."""
        classes = output.scores.shape[1]
        present = one_hot(labels, classes).to(output.scores.dtype)
        too_short = (self.positive - output.scores).relu().square()
        too_long = (output.scores - self.negative).relu().square()
        loss = (present * too_short + self.absent * (1 - present) * too_long).sum(dim=-1).mean()
        return {"margin": loss if self.scale == "paper" else loss / (2 * classes)}
