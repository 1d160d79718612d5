"""Primary capsules with activations of their own (Hinton et al., 2018, section 4: PrimaryCaps)."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.geometry import output_side
from capsnet_dist.layer.normalization import PoseNormalization
from capsnet_dist.plugins import Image, Primary, primaries
from capsnet_dist.ranges import Count, Natural, Positive


@primaries.register("matrix")
class MatrixPrimary(Primary):
    """One convolution gives the poses, another the logits of their activations (Hinton et al., 2018, section 4).

    Args:
        maps: Channels, height and width of the feature maps.
        types: Capsule types; each has one capsule at every position.
        dim: Pose size, 16 for a 4 x 4 matrix.
        kernel: Side of the convolutions' kernel, in pixels.
        stride: Step of the kernel, in pixels.
        padding: Rows and columns of zeros around the maps.
        normalization: Batch normalisation of poses and logits. "none": as Hinton et al. (2018). "type": one scale for
            all numbers of a type's pose (Ribeiro et al., 2020). "number": one for each (Hahn et al., 2019).
        threshold: Subtracted from the logits; 1 in the code of Hinton et al. (2018), where nothing else shifts them.

    Raises:
        UserError: the maps are smaller than the kernel.
    """

    def __init__(
        self,
        maps: Image,
        *,
        types: Count = 32,
        dim: Count = 16,
        kernel: Count = 1,
        stride: Count = 1,
        padding: Natural = 0,
        normalization: Literal["none", "type", "number"] = "none",
        threshold: Positive = 1.0,
    ) -> None:
        channels, *sides = maps
        height, width = (output_side(side, kernel, stride, padding) for side in sides)
        super().__init__(Grid(types, height, width, dim))
        self.threshold = threshold
        self.pose = nn.Conv2d(channels, types * dim, kernel, stride, padding, bias=False)
        self.activation = nn.Conv2d(channels, types, kernel, stride, padding, bias=False)
        self.pose_norm, self.activation_norm = nn.Identity(), nn.Identity()
        if normalization != "none":
            self.pose_norm = PoseNormalization(self.outputs, normalization)
            self.activation_norm = nn.BatchNorm2d(types)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """Capsules in the order type, row, column; the numbers of a pose are neighbouring channels."""
        poses, logits = self.pose(maps), self.activation(maps)
        with torch.autocast(maps.device.type, enabled=False):
            poses = rearrange(at_least_float32(poses), "b (n d) h w -> b (n h w) d", d=self.outputs.dim)
            logits = self.activation_norm(at_least_float32(logits)) - self.threshold
            return Capsules(self.pose_norm(poses), rearrange(logits.sigmoid(), "b n h w -> b (n h w)"))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        types, height, width, dim, _ = self.outputs
        return f"{types} x {height} x {width} x {dim}, threshold={self.threshold}"
