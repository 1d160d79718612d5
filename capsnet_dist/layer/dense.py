"""Fully connected capsules (Sabour et al., 2017, section 4: DigitCaps)."""

from capsnet_dist.capsules import Grid
from capsnet_dist.layer.voting import VotingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.ranges import Amount, Count
from capsnet_dist.registry import Choice


@layers.register("dense")
class DenseCapsules(VotingLayer):
    """Every part votes for every whole by a matrix of its own (Sabour et al., 2017, eq. 2).

    Args:
        inputs: The capsules below.
        wholes: Number of capsules of this layer, j.
        dim: Their pose size, d.
        rows: Rows of a pose: 1 for a vector, 4 for a 4 x 4 matrix.
        deviation: Standard deviation of the initial matrices; 0.1 makes votes long enough for routing to start at once.
        routing: How parts agree on wholes.

    Raises:
        UserError: poses do not divide into rows, or the routing needs activations that the parts do not have.
    """

    def __init__(
        self,
        inputs: Grid,
        *,
        wholes: Count = 10,
        dim: Count = 16,
        rows: Count = 1,
        deviation: Amount = 0.1,
        routing: Choice[Routing] = routings("dynamic"),
    ) -> None:
        super().__init__(inputs, Grid(wholes, 1, 1, dim), inputs.num_capsules, routing, rows=rows, deviation=deviation)
