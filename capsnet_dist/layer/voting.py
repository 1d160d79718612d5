"""What all layers that route have in common: transformation matrices, and routing in float32."""

import torch
from torch import nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Layer, Routing
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Competition, Votes, softmax_over_wholes


class VotingLayer(Layer):
    """A layer whose parts vote by a matrix and whose wholes are found by a routing.

    Args:
        inputs: The capsules below.
        outputs: The capsules it makes.
        parts: Number of parts that one whole sees.
        routing: How they agree on wholes.
        rows: Rows of a pose; 1 for a vector, 4 for a 4 x 4 matrix, all of whose rows take the same transformation.
        deviation: Standard deviation of the initial transformations.

    Raises:
        UserError: poses do not divide into rows, or the routing needs activations that the parts do not have.
    """

    def __init__(
        self, inputs: Grid, outputs: Grid, parts: int, routing: Choice[Routing], *, rows: int, deviation: float
    ) -> None:
        if inputs.dim % rows or outputs.dim % rows:
            raise UserError(f"Poses of {inputs.dim} and {outputs.dim} numbers do not divide into {rows} rows.")
        built = routing.build(parts, inputs.dim, outputs.types, outputs.dim)
        if built.needs_activations and not inputs.activations:
            raise UserError(f"Routing {routing.name!r} needs activations, and the capsules below it have none.")
        super().__init__(inputs, outputs._replace(activations=built.makes_activations))
        self.rows, self.routing = rows, built
        self.weight = nn.Parameter(torch.empty(parts, outputs.types, outputs.dim // rows, inputs.dim // rows))
        nn.init.normal_(self.weight, std=deviation)

    def route(self, capsules: Capsules, competition: Competition = softmax_over_wholes) -> Capsules:
        """Vote and route in float32 (or float64), whatever autocast says."""
        with torch.autocast(self.weight.device.type, enabled=False):
            poses, activations = map(at_least_float32, capsules)
            return self.routing(Votes(poses, self.weight, None, competition), activations)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        shapes = [f"{grid.types} x {grid.height} x {grid.width} x {grid.dim}" for grid in (self.inputs, self.outputs)]
        return " -> ".join(shapes)
