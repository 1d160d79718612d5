"""Max-min routing (Zhao et al., 2019)."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.votes import Votes


def max_min(logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
    """Couplings of each part from 0 for the least to 1 for the most likely whole; 1 where all are alike.

    Args:
        logits: How much each part prefers each whole.
    """
    least = logits.amin(dim=-1, keepdim=True)
    span = logits.amax(dim=-1, keepdim=True) - least
    alike = span < 1e-12  # or its reciprocal, which is the gradient, would leave float32
    return torch.where(alike, 1, (logits - least) / span.masked_fill(alike, 1))


@routings.register("max_min")
class MaxMinRouting(Routing):
    """Routing by agreement with max-min normalisation in place of the softmax (Zhao et al., 2019).

    Couplings of a part keep their full range whatever the scale of the logits, and do not sum to one: a part can be
    all for two wholes. They are normalised over the wholes at one position.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; in the first all couplings are 1.

    Raises:
        UserError: fewer than one iteration.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {"couplings_are_shares": "a part can be all for two wholes"}

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: Count = 3) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations = iterations

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route; activations are not used."""
        logits = torch.zeros_like(activations)[..., None].expand(-1, -1, self.wholes)
        poses = squash(votes.combine(max_min(logits)))
        for _ in range(self.iterations - 1):
            logits = logits + votes.agreement(poses)
            poses = squash(votes.combine(max_min(logits)))
        return Capsules(poses, lengths(poses))

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}"
