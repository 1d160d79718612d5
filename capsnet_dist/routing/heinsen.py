"""Routing by the net benefit to use or ignore data (Heinsen, 2019, algorithm 1)."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from capsnet_dist.capsules import Capsules
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.routing.gaussian import log_density
from capsnet_dist.votes import Votes

EPSILON = 1e-5  # the authors': least of what a whole uses, and of its variances


class Wholes(NamedTuple):
    """What an M-step finds."""

    means: Float[Tensor, "b j d"]
    variances: Float[Tensor, "b j d"]
    scores: Float[Tensor, "b j"]
    """Logits of the activations."""


@routings.register("heinsen")
class HeinsenRouting(Routing):
    """Expectation maximisation between whose steps wholes use or ignore each part (Heinsen, 2019, algorithm 1).

    A whole's score is the net benefit of the data that it uses less that of the data it ignores, each part at a learned
    rate. The paper's scores are logits; activations here are their logistic function, of parts and of wholes.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; it ends on an M-step.

    Raises:
        UserError: fewer than one iteration.
    """

    needs_activations = True
    expected_failures: ClassVar[Mapping[str, str]] = {
        "agreement_makes_the_longest_whole": "rates of benefit start at zero"
    }

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: Count = 3) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations = iterations
        self.bias = nn.Parameter(torch.zeros(parts, wholes, dim))  # B_ij, added to the votes
        self.beta_use = nn.Parameter(torch.zeros(parts, wholes))
        self.beta_ignore = nn.Parameter(torch.zeros(parts, wholes))

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Alternate E-step, D-step and M-step."""
        biased = votes.plus(self.bias)
        wholes = self._fit(votes, biased, votes.even(), activations)
        for _ in range(self.iterations - 1):
            evidence = log_density(biased, wholes.means, wholes.variances)
            coupling = votes.compete(rearrange(logsigmoid(wholes.scores), "b j -> b 1 j") + evidence)
            wholes = self._fit(votes, biased, coupling, activations)
        return Capsules(wholes.means, wholes.scores.sigmoid())

    def _fit(
        self,
        votes: Votes,
        biased: Votes,
        coupling: Float[Tensor, "b i j"],
        activations: Float[Tensor, "b i"],
    ) -> Wholes:
        """D-step: what each whole uses and ignores of the data. M-step: the wholes that follow."""
        used = coupling * activations[..., None]
        ignored = activations[..., None] - used
        scores = reduce(self.beta_use * used - self.beta_ignore * ignored, "b i j -> b j", "sum")
        mass = (reduce(used, "b i j -> b j", "sum") + EPSILON)[..., None]
        means = (votes.combine(used) + einsum(used, self.bias, "b i j, i j d -> b j d")) / mass
        variances = biased.spread(used, means) / mass + EPSILON
        return Wholes(means, variances, scores)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}"
