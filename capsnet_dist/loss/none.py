"""No loss, where a run has a place for one that is not wanted."""

from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.plugins import Output, losses


@losses.register("none")
class NoLoss:
    """No terms: `--regularizer none`."""

    takes_several = True

    def __call__(
        self, output: Output, images: Float[Tensor, "b *o c h w"], labels: Int64[Tensor, "b *m"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Nothing."""
        return {}
