"""No loss, where a run has a place for one that is not wanted."""

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.objects import Labels
from capsnet_dist.plugins import Output, losses


@losses.register("none")
class NoLoss:
    """No terms: `--regularizer none`."""

    takes_several = takes_mixed = True

    def __call__(
        self, output: Output, images: Float[Tensor, "b *o c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Nothing."""
        return {}
