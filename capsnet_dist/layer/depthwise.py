"""Primary capsules by a depthwise convolution (Mazzia et al., 2021: Efficient-CapsNet, section 3)."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32, exponential_squash, lengths
from capsnet_dist.errors import UserError
from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Image, Primary, primaries
from capsnet_dist.ranges import Count


@primaries.register("depthwise")
class DepthwisePrimary(Primary):
    """Each feature map is summed up by a kernel of its own; neighbouring maps form a pose (Mazzia et al., 2021).

    Args:
        maps: Channels, height and width of the feature maps.
        dim: Pose size; there are channels / dim types.
        kernel: Side of the kernel, in pixels; "map" as large as the maps, which leaves one capsule of each type.
        stride: Step of the kernel, in pixels.

    Raises:
        UserError: the maps are smaller than the kernel, or the channels do not divide into poses.
    """

    def __init__(
        self, maps: Image, *, dim: Count = 8, kernel: Count | Literal["map"] = "map", stride: Count = 1
    ) -> None:
        channels, height, width = maps
        if channels % dim:
            raise UserError(f"{channels} feature maps do not divide into poses of {dim}.")
        sides = (height, width) if kernel == "map" else (kernel, kernel)
        rows, columns = output_side(height, sides[0], stride), output_side(width, sides[1], stride)
        super().__init__(Grid(channels // dim, rows, columns, dim))
        self.conv = nn.Conv2d(channels, channels, sides, stride, groups=channels)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column."""
        poses = rearrange(self.conv(maps), "b (n d) h w -> b (n h w) d", d=self.outputs.dim)
        with torch.autocast(maps.device.type, enabled=False):
            poses = exponential_squash(at_least_float32(poses))
            return Capsules(poses, lengths(poses))
