"""Inverted dot-product attention routing (Tsai et al., 2020, procedure 1)."""

from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.votes import Votes


@routings.register("attention")
class AttentionRouting(Routing):
    """Inverted dot-product attention: wholes compete for the attention of parts (Tsai et al., 2020, procedure 1).

    Agreement is divided by the square root of the pose size, as in the authors' code; the paper does not. A network
    that routes all its layers at once calls `begin` on each layer, bottom up, and then `update` on all from the poses
    of the iteration before; `forward` finishes one layer before the next. Wholes have no activations.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; 1 gives every whole the same share of each part.

    Raises:
        UserError: fewer than one iteration.
    """

    makes_activations = False

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: Count = 2) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations = iterations
        self.norm = nn.LayerNorm(dim) if dim > 1 else nn.Identity()  # of a single number nothing would be left

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route; activations are not used."""
        poses = self.begin(votes)
        for _ in range(self.iterations - 1):
            poses = self.update(votes, poses)
        return Capsules(poses, poses.new_ones(poses.shape[:2]))

    def begin(self, votes: Votes) -> Float[Tensor, "b j d"]:
        """Poses of the first iteration, when every whole gets the same share of each part."""
        return self.norm(votes.combine(votes.even()))

    def update(self, votes: Votes, poses: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """Poses of the next iteration, from those of the iteration before."""
        agreement = votes.agreement(poses) / self.dim**0.5
        routing = votes.compete(agreement)
        return self.norm(votes.combine(routing))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}"
