"""Primary capsules: the first capsules, made from feature maps (Sabour et al., 2017, section 4)."""

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.geometry import output_side
from capsnet_dist.kernels import Convolution, FastConv2d
from capsnet_dist.kernels.squash.function import squash_maps
from capsnet_dist.plugins import Image, Primary, primaries
from capsnet_dist.ranges import Count, Natural, Positive


@primaries.register("vector")
class PrimaryCapsules(Primary):
    """A convolution whose channels are grouped into poses, then squashed (Sabour et al., 2017, section 4).

    Args:
        maps: Channels, height and width of the feature maps.
        types: Capsule types; each has one capsule at every position.
        dim: Pose size.
        kernel: Side of the convolution's kernel, in pixels.
        stride: Step of the kernel, in pixels.
        padding: Rows and columns of zeros around the maps.
        factor: What the convolution is multiplied by, before its bias. 1 / types is that of the authors' code, which
            sums capsules up as a routing of one iteration does: their optimizer moves kernels as many times slower.
        convolution: How it is computed. "auto": what costs least by its sizes. "direct": by the library. "bilinear":
            with a fraction of the multiplications and an error like the library's. "bilinear_loose": with fewer still,
            and an error up to five times as large.

    Raises:
        UserError: the maps are smaller than the kernel.
    """

    def __init__(
        self,
        maps: Image,
        *,
        types: Count = 32,
        dim: Count = 8,
        kernel: Count = 9,
        stride: Count = 2,
        padding: Natural = 0,
        factor: Positive = 1.0,
        convolution: Convolution = "auto",
    ) -> None:
        channels, *sides = maps
        height, width = (output_side(side, kernel, stride, padding) for side in sides)
        super().__init__(Grid(types, height, width, dim))
        self.factor = factor
        self.conv = FastConv2d(channels, types * dim, kernel, stride, padding, algorithm=convolution)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels."""
        totals = self.conv(maps if self.factor == 1 else self.factor * maps)
        with torch.autocast(maps.device.type, enabled=False):
            return squash_maps(totals, self.outputs.dim)
