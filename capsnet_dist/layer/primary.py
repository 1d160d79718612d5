"""Primary capsules: the first capsules, made from feature maps (Sabour et al., 2017, section 4)."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, at_least_float32, lengths, squash


class PrimaryCapsules(nn.Module):
    """A convolution whose channels are grouped into poses, then squashed (Sabour et al., 2017, section 4).

    Args:
        channels: Channels of the feature maps.
        types: Capsule types; each has one capsule at every position.
        dim: Pose size.
        kernel: Side of the convolution's kernel, in pixels.
        stride: Step of the kernel, in pixels.
    """

    def __init__(self, channels: int, types: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.dim = dim
        self.conv = nn.Conv2d(channels, types * dim, kernel, stride)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels."""
        poses = rearrange(self.conv(maps), "b (n d) h w -> b (n h w) d", d=self.dim)
        with torch.autocast(maps.device.type, enabled=False):
            poses = squash(at_least_float32(poses))
            return Capsules(poses, lengths(poses))
