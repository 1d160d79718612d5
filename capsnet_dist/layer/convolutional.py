"""Convolutional capsules (Hinton et al., 2018, section 4)."""

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.geometry import Windows
from capsnet_dist.layer.voting import VotingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.registry import Choice


@layers.register("convolutional")
class ConvolutionalCapsules(VotingLayer):
    """Wholes at every position see the parts in a window; all positions share the matrices (Hinton et al., 2018).

    Wholes at different positions compete for the parts that they both see.

    Args:
        inputs: The capsules below.
        types: Types of capsule, each with one at every position.
        dim: Their pose size, d.
        kernel: Side of a window, in positions.
        stride: Step between windows, in positions.
        padding: Rows and columns of absent capsules around the map.
        rows: Rows of a pose: 1 for a vector, 4 for a 4 x 4 matrix.
        deviation: Standard deviation of the initial matrices.
        routing: How parts agree on wholes.

    Raises:
        UserError: the map is too small for the window, poses do not divide into rows, or the routing needs activations
            that the parts do not have.
    """

    def __init__(
        self,
        inputs: Grid,
        *,
        types: int = 16,
        dim: int = 16,
        kernel: int = 3,
        stride: int = 1,
        padding: int = 0,
        rows: int = 1,
        deviation: float = 0.1,
        routing: Choice[Routing] = routings("dynamic"),
    ) -> None:
        windows = Windows(inputs, kernel, stride, padding)
        outputs = Grid(types, windows.height, windows.width, dim)
        parts = inputs.types * kernel**2
        super().__init__(inputs, outputs, parts, routing, rows=rows, deviation=deviation)
        self.windows = windows

    def forward(self, capsules: Capsules) -> Capsules:
        """The wholes at all positions."""
        return self.windows.join(self.route(self.windows.cut(capsules), self.windows.compete))
