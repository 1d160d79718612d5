"""Reconstruction as regularization (Sabour et al., 2017, section 4.1)."""

from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Output, losses


@losses.register("reconstruction")
class Reconstruction:
    """Squared error of the rebuilt image (Sabour et al., 2017, section 4.1).

    Args:
        weight: Weight of the mean squared error of a pixel. The paper's 0.0005 times the sum over 784 pixels is
            0.392 times their mean; counted this way it fits images of any size.

    Raises:
        UserError: the network rebuilds nothing.
    """

    def __init__(self, *, weight: float = 0.392) -> None:
        self.weight = weight

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "reconstruction"."""
        if output.reconstruction is None:
            raise UserError("The network has no decoder: nothing to compare with. Choose --regularizer none.")
        return {"reconstruction": self.weight * (output.reconstruction - images).square().mean()}
