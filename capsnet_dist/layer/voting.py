"""What all layers that route have in common: votes of parts, transformation matrices, and routing in float32."""

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Layer, Routing
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


class RoutingLayer(Layer):
    """A layer whose wholes are found by a routing.

    A layer with windows lets them join the batch axis while it routes: `votes` and `split` take them apart, `join`
    puts them together.

    Args:
        inputs: The capsules below.
        outputs: The capsules it makes.
        parts: Number of parts that one whole sees.
        routing: How they agree on wholes.

    Raises:
        UserError: the routing needs activations that the parts do not have.
    """

    def __init__(self, inputs: Grid, outputs: Grid, parts: int, routing: Choice[Routing]) -> None:
        built = routing.build(parts, inputs.dim, outputs.types, outputs.dim)
        if built.needs_activations and not inputs.activations:
            raise UserError(f"Routing {routing.name!r} needs activations, and the capsules below it have none.")
        super().__init__(inputs, outputs._replace(activations=built.makes_activations))
        self.routing = built

    @abstractmethod
    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "b i"]]:
        """The votes of the parts, and their activations."""

    def join(self, wholes: Capsules) -> Capsules:
        """The wholes of all windows as one grid."""
        return wholes

    def split(self, wholes: Capsules) -> Capsules:
        """The wholes of a grid, window by window: the inverse of `join`."""
        return wholes

    def forward(self, capsules: Capsules) -> Capsules:
        """The wholes, by votes and routing in float32 (or float64), whatever autocast says."""
        with torch.autocast(capsules.poses.device.type, enabled=False):
            return self.join(self.routing(*self.votes(capsules)))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        shapes = [f"{grid.types} x {grid.height} x {grid.width} x {grid.dim}" for grid in (self.inputs, self.outputs)]
        return " -> ".join(shapes)


class VotingLayer(RoutingLayer):
    """A layer whose parts vote by matrices.

    Args:
        inputs: The capsules below.
        outputs: The capsules it makes.
        parts: Number of parts that one whole sees.
        routing: How they agree on wholes.
        rows: Rows of a pose; 1 for a vector, 4 for a 4 x 4 matrix, all of whose rows take the same transformation.
        deviation: Standard deviation of the initial transformations.
        places: Number of parts that share a matrix.

    Raises:
        UserError: poses do not divide into rows, or the routing needs activations that the parts do not have.
    """

    def __init__(
        self,
        inputs: Grid,
        outputs: Grid,
        parts: int,
        routing: Choice[Routing],
        *,
        rows: int,
        deviation: float,
        places: int = 1,
    ) -> None:
        if inputs.dim % rows or outputs.dim % rows:
            raise UserError(f"Poses of {inputs.dim} and {outputs.dim} numbers do not divide into {rows} rows.")
        super().__init__(inputs, outputs, parts, routing)
        self.rows = rows
        self.weight = nn.Parameter(torch.empty(parts // places, outputs.types, outputs.dim // rows, inputs.dim // rows))
        nn.init.normal_(self.weight, std=deviation)

    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "b i"]]:
        """The votes of the parts, and their activations."""
        poses, activations = map(at_least_float32, capsules)
        return Votes(poses, self.weight), activations


def require_activations(layer: RoutingLayer, routing: Choice[Routing]) -> None:
    """Refuse class capsules that could not say which class it is.

    Args:
        layer: The class capsules.
        routing: What they were made with.

    Raises:
        UserError: the routing makes no activations.
    """
    if not layer.outputs.activations:
        raise UserError(f"Routing {routing.name!r} makes no activations, which the class capsules need for scores.")
