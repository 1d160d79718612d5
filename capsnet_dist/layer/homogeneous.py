"""Homogeneous vector capsules (Byerly et al., 2021: No routing needed between capsules, section 3)."""

import torch
from einops import einsum, rearrange
from torch import nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.plugins import Layer, layers
from capsnet_dist.ranges import Count, Share


class ShiftedNormalization(nn.BatchNorm2d):
    """Batch normalization with a shift but no scale, as the authors use throughout.

    Args:
        channels: Channels, each with statistics and a shift of its own.
        momentum: Share of a new batch in the running statistics.
    """

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__(channels, eps=1e-3, momentum=momentum)  # 1e-3: the authors' code
        self.register_parameter("weight", None)


@layers.register("homogeneous")
class HomogeneousCapsules(Layer):
    """Parts weighted number by number and summed up: no matrix, no routing (Byerly et al., 2021).

    The wholes' poses are of the same size as the parts'. Their lengths are logits without an upper bound, made for
    cross entropy; they have no activations.

    Args:
        inputs: The capsules below.
        wholes: Number of capsules of this layer, j.
        momentum: Share of a new batch in the running statistics; 0.0003 as in the authors' code, which trains long.
    """

    def __init__(self, inputs: Grid, *, wholes: Count = 10, momentum: Share = 0.0003) -> None:
        super().__init__(inputs, Grid(wholes, 1, 1, inputs.dim, activations=False))
        self.weight = nn.Parameter(torch.empty(inputs.num_capsules, wholes, inputs.dim))
        nn.init.normal_(self.weight, std=0.05)  # TensorFlow's default, which the authors keep
        self.norm = ShiftedNormalization(inputs.dim, momentum)

    def forward(self, capsules: Capsules) -> Capsules:
        """The wholes: y_j = ReLU(BN(sum_i w_ij * u_i))."""
        with torch.autocast(capsules.poses.device.type, enabled=False):
            u = at_least_float32(capsules.poses)
            s = einsum(u, self.weight, "b i d, i j d -> b j d")
            y = rearrange(self.norm(rearrange(s, "b j d -> b d j 1")).relu(), "b d j 1 -> b j d")
            return Capsules(y, torch.ones_like(y[..., 0]))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{self.inputs.num_capsules} -> {self.outputs.types} x {self.inputs.dim}"
