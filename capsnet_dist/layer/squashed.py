"""Capsules by a plain convolution (Rajasegaran et al., 2019: DeepCaps, section 3: ConvCaps)."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32, lengths, squash
from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Layer, layers
from capsnet_dist.ranges import Count, Natural


@layers.register("squashed")
class SquashedConvolution(Layer):
    """A convolution over all numbers of all poses, then squashed: no routing (Rajasegaran et al., 2019: DeepCaps).

    Args:
        inputs: The capsules below.
        types: Types of capsule, each with one at every position.
        dim: Their pose size, d.
        kernel: Side of the kernel, in positions.
        stride: Step of the kernel, in positions.
        padding: Rows and columns of absent capsules around the map.

    Raises:
        UserError: the map is too small for the kernel.
    """

    def __init__(
        self,
        inputs: Grid,
        *,
        types: Count = 32,
        dim: Count = 8,
        kernel: Count = 3,
        stride: Count = 1,
        padding: Natural = 1,
    ) -> None:
        height, width = (output_side(side, kernel, stride, padding) for side in (inputs.height, inputs.width))
        super().__init__(inputs, Grid(types, height, width, dim))
        below, above = inputs.types * inputs.dim, types * dim
        self.conv = nn.Conv2d(below, above, kernel, stride, padding, bias=False)  # no bias: the authors' code
        # Keras' Glorot for the authors' kernel of six axes. Squashing a short vector squares its length, so that with
        # PyTorch's smaller values, seven layers on, nothing is left of it, nor of its gradient.
        limit = math.sqrt(3 / (kernel * math.sqrt(below * above)))
        nn.init.uniform_(self.conv.weight, -limit, limit)

    def forward(self, capsules: Capsules) -> Capsules:
        """Squash the convolution of the poses below."""
        maps = rearrange(capsules.poses, "b (n h w) p -> b (n p) h w", h=self.inputs.height, w=self.inputs.width)
        return squashed(self.conv(maps), self.outputs.dim)


def squashed(maps: Float[Tensor, "b c h w"], dim: int) -> Capsules:
    """Neighbouring channels as poses, squashed in float32."""
    poses = rearrange(maps, "b (n d) h w -> b (n h w) d", d=dim)
    with torch.autocast(maps.device.type, enabled=False):
        poses = squash(at_least_float32(poses))
        return Capsules(poses, lengths(poses))
