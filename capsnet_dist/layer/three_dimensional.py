"""Routing by three-dimensional convolution (Rajasegaran et al., 2019: DeepCaps, section 3.1)."""

import math

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.geometry import Windows
from capsnet_dist.layer.voting import RoutingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.ranges import Count, Natural
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


@layers.register("three_dimensional")
class ThreeDimensionalCapsules(RoutingLayer):
    """Each type below votes with the same kernel, as in a 3-D convolution (Rajasegaran et al., 2019, section 3.1).

    A part is one type of capsule as a window sees it: a patch of kernel x kernel poses. It divides itself over all
    wholes at all positions (their equation for k_pqrs).

    Args:
        inputs: The capsules below.
        types: Types of capsule, each with one at every position.
        dim: Their pose size, d.
        kernel: Side of a window, in positions.
        stride: Step between windows, in positions.
        padding: Rows and columns of absent capsules around the map.
        routing: How the types below agree on wholes; with a bias, as in the authors' code, or little is left of a part
            that divides itself over a whole map.

    Raises:
        UserError: the map is too small for the window, or the routing needs activations that the parts do not have.
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
        routing: Choice[Routing] = routings("dynamic", bias=True),
    ) -> None:
        windows = Windows(inputs, kernel, stride, padding)
        patch = inputs._replace(dim=inputs.dim * kernel**2)
        super().__init__(patch, Grid(types, windows.height, windows.width, dim), inputs.types, routing)
        self.inputs, self.windows = inputs, windows
        self.weight = nn.Parameter(torch.empty(types, dim, patch.dim))
        nn.init.normal_(self.weight, std=math.sqrt(2 / patch.dim))  # he_normal, as in the authors' code

    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "bo i"]]:
        """The votes of each type in each window, and its mean activation there."""
        poses, activations = map(at_least_float32, self.windows.cut(capsules))
        poses = rearrange(poses, "bo (i k) p -> bo i (k p)", i=self.inputs.types)
        activations = rearrange(activations, "bo (i k) -> bo i k", i=self.inputs.types).mean(dim=-1)
        weight = repeat(self.weight, "j d p -> i j d p", i=self.inputs.types)
        return Votes(poses, weight, None, self.compete), activations

    def compete(self, logits: Float[Tensor, "bo i j"]) -> Float[Tensor, "bo i j"]:
        """Softmax over the wholes of all types at all positions."""
        together = rearrange(logits, "(b o) i j -> b i (o j)", o=self.windows.num_windows)
        return rearrange(together.softmax(dim=-1), "b i (o j) -> (b o) i j", o=self.windows.num_windows)

    def join(self, wholes: Capsules) -> Capsules:
        """The wholes of all windows as one grid."""
        return self.windows.join(wholes)

    def split(self, wholes: Capsules) -> Capsules:
        """The wholes of a grid, window by window."""
        return self.windows.split(wholes)
