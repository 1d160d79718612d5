"""K-means routing (Su, 2018: from k-means to capsules, https://kexue.fm/archives/5112)."""

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.votes import Votes


@routings.register("kmeans")
class KMeansRouting(Routing):
    """Soft k-means by scalar product (Su, 2018, https://kexue.fm/archives/5112, and its author's code).

    As routing by agreement, but the logits are replaced by the agreement, not increased by it, so that they do not
    grow with the iterations; and until the last iteration the wholes are unit vectors.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; 1 gives every whole the same share of each part.

    Raises:
        UserError: fewer than one iteration.
    """

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: Count = 3) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations = iterations

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route; activations are not used."""
        total = votes.combine(votes.even())
        for _ in range(self.iterations - 1):
            centre = total / lengths(total)[..., None]
            total = votes.combine(votes.compete(votes.agreement(centre)))
        poses = squash(2**0.5 * total)  # squash by |s|^2 / (1/2 + |s|^2), so that a length of one half is kept
        return Capsules(poses, lengths(poses))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}"
