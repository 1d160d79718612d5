"""Convolutional capsules (Hinton et al., 2018, section 4)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.geometry import Windows
from capsnet_dist.layer.voting import VotingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.ranges import Amount, Count, Natural
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes, softmax_over_wholes


@layers.register("convolutional")
class ConvolutionalCapsules(VotingLayer):
    """Wholes at every position see the parts in a window; all positions share the matrices (Hinton et al., 2018).

    Wholes at different positions compete for the parts that they both see, unless `competition` says otherwise.

    Args:
        inputs: The capsules below.
        types: Types of capsule, each with one at every position.
        dim: Their pose size, d.
        kernel: Side of a window, in positions.
        stride: Step between windows, in positions.
        padding: Rows and columns of absent capsules around the map.
        rows: Rows of a pose: 1 for a vector, 4 for a 4 x 4 matrix.
        deviation: Standard deviation of the initial matrices.
        competition: Which wholes compete for a part. "overlapping": all that see it, in any window (Hinton et al.,
            2018). "window": those in one window, each window anew (Tsai et al., 2020, in their code).
        routing: How parts agree on wholes.

    Raises:
        UserError: the map is too small for the window, poses do not divide into rows, or the routing needs activations
            that the parts do not have.
    """

    def __init__(
        self,
        inputs: Grid,
        *,
        types: Count = 16,
        dim: Count = 16,
        kernel: Count = 3,
        stride: Count = 1,
        padding: Natural = 0,
        rows: Count = 1,
        deviation: Amount = 0.1,
        competition: Literal["overlapping", "window"] = "overlapping",
        routing: Choice[Routing] = routings("dynamic"),
    ) -> None:
        windows = Windows(inputs, kernel, stride, padding)
        outputs = Grid(types, windows.height, windows.width, dim)
        parts = inputs.types * kernel**2
        super().__init__(inputs, outputs, parts, routing, rows=rows, deviation=deviation)
        self.windows, self.competition = windows, competition

    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "bo i"]]:
        """The votes in each window, and the activations of the parts."""
        poses, activations = map(at_least_float32, self.windows.cut(capsules))
        compete = self.windows.compete if self.competition == "overlapping" else softmax_over_wholes
        return Votes(poses, self.weight, None, compete), activations

    def join(self, wholes: Capsules) -> Capsules:
        """The wholes of all windows as one grid."""
        return self.windows.join(wholes)

    def split(self, wholes: Capsules) -> Capsules:
        """The wholes of a grid, window by window."""
        return self.windows.split(wholes)
