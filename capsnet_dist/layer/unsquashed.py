"""Primary capsules as a convolution gives them, as public re-implementations of Sabour et al. (2017) have them."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Image, Primary, primaries
from capsnet_dist.ranges import Count


@primaries.register("unsquashed")
class UnsquashedPrimary(Primary):
    """A convolution whose channels are grouped into poses of any length: "vector" without the squash of its paper.

    Args:
        maps: Channels, height and width of the feature maps.
        types: Capsule types; each has one capsule at every position.
        dim: Pose size.
        kernel: Side of the convolution's kernel, in pixels.
        stride: Step of the kernel, in pixels.

    Raises:
        UserError: the maps are smaller than the kernel.
    """

    def __init__(self, maps: Image, *, types: Count = 32, dim: Count = 8, kernel: Count = 9, stride: Count = 2) -> None:
        channels, height, width = maps
        grid = Grid(types, output_side(height, kernel, stride), output_side(width, kernel, stride), dim, False)
        super().__init__(grid)
        self.conv = nn.Conv2d(channels, types * dim, kernel, stride)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels."""
        poses = rearrange(self.conv(maps), "b (n d) h w -> b (n h w) d", d=self.outputs.dim)
        with torch.autocast(maps.device.type, enabled=False):
            poses = at_least_float32(poses)
            return Capsules(poses, poses.new_ones(poses.shape[:2]))
