"""Self-routing (Hahn et al., 2019)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from einops import einsum, reduce
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.votes import Votes, softmax_over_wholes

EPSILON = 1e-12  # of the authors' code; ours also keeps parts without any activation from dividing by zero


@routings.register("self_routing")
class SelfRouting(Routing):
    """Each part decides by itself which wholes to go to, by a small network of its own (Hahn et al., 2019, eq. 1 to 3).

    There is no agreement and no iteration. Wholes at one position share a part among them, whatever others see it.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
    """

    needs_activations = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "agreement_gets_the_larger_share": "a part decides without seeing what others vote",
        "agreement_makes_the_longest_whole": "a part decides without seeing what others vote",
    }

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        self.weight = nn.Parameter(torch.zeros(parts, wholes, part_dim))  # zero: every whole begins with the same share
        self.bias = nn.Parameter(torch.zeros(parts, wholes))

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Poses and activations are means over the parts, weighted by coupling and activation."""
        logits = einsum(self.weight, votes.poses, "i j p, b i p -> b i j") + self.bias
        share = softmax_over_wholes(logits) * activations[..., None]
        received = reduce(share, "b i j -> b j", "sum")
        poses = votes.combine(share) / (received + EPSILON)[..., None]
        return Capsules(poses, received / (reduce(activations, "b i -> b 1", "sum") + EPSILON))
