"""Reconstruction as regularization (Sabour et al., 2017, section 4.1)."""

from typing import Literal

from einops import reduce
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Amount


@losses.register("reconstruction")
class Reconstruction:
    """Squared error of the rebuilt image (Sabour et al., 2017, section 4.1).

    Args:
        weight: Weight of the error. The paper's 0.0005 times the sum over 784 pixels is 0.392 times their mean; counted
            per pixel it fits images of any size.
        per: "pixel": the mean squared error of a pixel. "image": the sum over the pixels and channels of an image, as
            in the paper, whose weight for it is 0.0005.

    Raises:
        UserError: a negative weight, or the network rebuilds nothing.
    """

    def __init__(self, *, weight: Amount = 0.392, per: Literal["pixel", "image"] = "pixel") -> None:
        if not weight >= 0:
            raise UserError(f"weight={weight}: must be at least 0.")
        self.weight, self.per = weight, per

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "reconstruction"."""
        if output.reconstruction is None:
            raise UserError("The network has no decoder: nothing to compare with. Choose --regularizer none.")
        error = (output.reconstruction - images).square()
        if self.per == "image":
            error = reduce(error, "b c h w -> b", "sum")
        return {"reconstruction": self.weight * error.mean()}
