"""Primary capsules without activations, of one length (Tsai et al., 2020, section 4.1)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Image, Primary, primaries
from capsnet_dist.ranges import Count


@primaries.register("normalized")
class NormalizedPrimary(Primary):
    """A convolution whose channels are grouped into poses, then layer-normalised (Tsai et al., 2020, section 4.1).

    Args:
        maps: Channels, height and width of the feature maps.
        types: Capsule types; each has one capsule at every position.
        dim: Pose size, 16 for a 4 x 4 matrix.
        kernel: Side of the convolution's kernel, in pixels.
        stride: Step of the kernel, in pixels.

    Raises:
        UserError: the maps are smaller than the kernel.
    """

    def __init__(
        self, maps: Image, *, types: Count = 32, dim: Count = 16, kernel: Count = 1, stride: Count = 1
    ) -> None:
        channels, height, width = maps
        grid = Grid(types, output_side(height, kernel, stride), output_side(width, kernel, stride), dim, False)
        super().__init__(grid)
        self.conv = nn.Conv2d(channels, types * dim, kernel, stride, bias=False)
        self.norm = nn.LayerNorm(dim) if dim > 1 else nn.Identity()  # of a single number nothing would be left

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels."""
        poses = rearrange(self.conv(maps), "b (n d) h w -> b (n h w) d", d=self.outputs.dim)
        with torch.autocast(maps.device.type, enabled=False):
            poses = self.norm(at_least_float32(poses))
            return Capsules(poses, poses.new_ones(poses.shape[:2]))
