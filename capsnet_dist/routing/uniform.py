"""No routing: every whole gets the same share of each part."""

from collections.abc import Mapping
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.votes import Votes


@routings.register("uniform")
class UniformRouting(Routing):
    """The control that a routing must beat: all couplings are equal (Gu and Tresp, 2020: no routing).

    It is dynamic routing with one iteration.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {"agreement_gets_the_larger_share": "shares are even"}

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Squash the total of equally shared votes; activations are not used."""
        poses = squash(votes.combine(votes.even()))
        return Capsules(poses, lengths(poses))
