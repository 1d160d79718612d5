"""Class capsules without matrices (Hahn et al., 2019): only the routing learns."""

from einops import repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, Grid, at_least_float32
from capsnet_dist.errors import UserError
from capsnet_dist.layer.voting import RoutingLayer
from capsnet_dist.plugins import Routing, layers, routings
from capsnet_dist.ranges import Count
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


@layers.register("untransformed")
class UntransformedCapsules(RoutingLayer):
    """Every part votes for every whole with its own pose, so that only the routing tells wholes apart.

    Hahn et al. (2019) make class capsules of activations alone; these have the poses of the parts that go to them too,
    at no parameter.

    Args:
        inputs: The capsules below.
        wholes: Number of capsules of this layer, j; their poses are as large as those of the parts.
        routing: How parts agree on wholes; one that learns a share for each part and whole.

    Raises:
        UserError: the routing has too few parameters to tell wholes apart, or needs activations that the parts do not
            have.
    """

    def __init__(
        self, inputs: Grid, *, wholes: Count = 10, routing: Choice[Routing] = routings("self_routing")
    ) -> None:
        parts = inputs.num_capsules
        super().__init__(inputs, Grid(wholes, 1, 1, inputs.dim), parts, routing)
        learned = sum(parameter.numel() for parameter in self.routing.parameters())
        if learned < parts * wholes:
            raise UserError(
                f"Routing {routing.name!r} learns {learned} numbers, too few to tell {wholes} wholes apart by {parts} "
                "parts without matrices. Choose 'self_routing', or a layer with matrices."
            )

    def votes(self, capsules: Capsules) -> tuple[Votes, Float[Tensor, "b i"]]:
        """The poses of the parts as their votes, and their activations."""
        poses, activations = map(at_least_float32, capsules)
        return Votes(
            poses, repeat(poses.new_ones(()), " -> i j 1 1", i=self.inputs.num_capsules, j=self.outputs.types)
        ), activations
