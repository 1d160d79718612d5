"""Reconstruction as regularization (Sabour et al., 2017, section 4.1)."""

from typing import Literal

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.objects import Labels, overlaid
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Amount


@losses.register("reconstruction")
class Reconstruction:
    """Squared error of the rebuilt image (Sabour et al., 2017, section 4.1).

    Where it is known what each of several objects looks like alone, each is compared with what is rebuilt from its own
    capsule, and their errors are added. Where it is not, the clipped sum of what is rebuilt is compared with the image.

    Args:
        weight: Weight of the error. The paper's 0.0005 times the sum over 784 pixels is 0.392 times their mean; counted
            per pixel it fits images of any size.
        per: "pixel": the mean squared error of a pixel. "image": the sum over the pixels and channels of an image, as
            in the paper, whose weight for it is 0.0005.

    Raises:
        UserError: a negative weight, or the network rebuilds nothing.
    """

    takes_several = takes_mixed = True

    def __init__(self, *, weight: Amount = 0.392, per: Literal["pixel", "image"] = "pixel") -> None:
        if not weight >= 0:
            raise UserError(f"weight={weight}: must be at least 0.")
        self.weight, self.per = weight, per

    def __call__(
        self, output: Output, images: Float[Tensor, "b *o c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "reconstruction"."""
        if output.reconstruction is None:
            raise UserError("The network has no decoder: nothing to compare with. Choose --regularizer none.")
        rebuilt = output.reconstruction
        if rebuilt.ndim > images.ndim:
            rebuilt = overlaid(rebuilt)
        if rebuilt.shape != images.shape:
            raise UserError("The network rebuilds one image, and the data have several objects: --regularizer none.")
        error = (rebuilt - images).square()
        if error.ndim > 4:
            error = reduce(error, "b m c h w -> b c h w", "sum")
        if self.per == "image":
            error = reduce(error, "b c h w -> b", "sum")
        return {"reconstruction": self.weight * error.mean()}
