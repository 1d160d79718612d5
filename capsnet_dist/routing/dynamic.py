"""Routing by agreement (Sabour et al., 2017, procedure 1)."""

from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.kernels.routing.function import Rules, route
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count, Positive
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.votes import Votes

L = TypeVar("L", Tensor, Tensor | None)


@routings.register("dynamic")
class DynamicRouting(Routing):
    """Routing by agreement (Sabour et al., 2017, procedure 1).

    Each part divides itself over the wholes by a softmax over logits; the logits grow by the agreement of its votes
    with the wholes of the iteration before. Activations are not used: a short pose casts short votes.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; 1 gives every whole the same share of each part.
        gradient: "full": through all iterations, as in the authors' code. "last": through the last one only, whose
            couplings then count as constants; needs less memory.
        leaky: Let a part also choose none of the wholes, by one more logit that is always zero, as the authors' code
            can. In convolutional capsules that is one more at each position.
        priors: Learn the logits b_ij of the first iteration (section 2: log prior probabilities) instead of zeros.
        bias: Add a learned vector to the total input of each whole, as the authors' code does.
        temperature: What the logits are divided by before the softmax: below 1, parts decide sooner.
        scale: What the couplings are multiplied by. As many as there are wholes gives couplings of 1 to the first
            iteration, which then is a layer without routing.

    Raises:
        UserError: fewer than one iteration.
    """

    def __init__(
        self,
        parts: int,
        part_dim: int,
        wholes: int,
        dim: int,
        *,
        iterations: Count = 3,
        gradient: Literal["full", "last"] = "full",
        leaky: bool = False,
        priors: bool = False,
        bias: bool = False,
        temperature: Positive = 1.0,
        scale: Positive = 1.0,
    ) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations, self.gradient, self.leaky = iterations, gradient, leaky
        self.temperature, self.scale = temperature, scale
        self.priors = nn.Parameter(torch.zeros(parts, wholes)) if priors else None
        self.bias = nn.Parameter(torch.full((wholes, dim), 0.1)) if bias else None  # 0.1: the authors' code

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Route; evidence is what the logits have gained since the first iteration."""
        if votes.plain:
            rules = Rules(self.iterations, self.leaky, self.gradient == "full", self.temperature, self.scale)
            poses = route(votes.poses, votes.weight, self._cooled(self.priors), self.bias, rules)
            return Capsules(poses, lengths(poses))
        evidence = torch.zeros_like(activations)[..., None].expand(-1, -1, self.wholes)
        poses = self._wholes(votes, evidence)
        for _ in range(self.iterations - 1):
            agreement = votes.agreement(poses)
            evidence = evidence + (agreement if self.gradient == "full" else agreement.detach())
            poses = self._wholes(votes, evidence)
        return Capsules(poses, lengths(poses))

    def _wholes(self, votes: Votes, evidence: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        logits = self._cooled(evidence if self.priors is None else evidence + self.priors)
        coupling = self._leaky_softmax(votes, logits) if self.leaky else votes.compete(logits)
        total = votes.combine(coupling if self.scale == 1 else self.scale * coupling)
        return squash(total if self.bias is None else total + self.bias)

    def _cooled(self, logits: L) -> L:
        return logits if logits is None or self.temperature == 1 else logits / self.temperature

    @staticmethod
    def _leaky_softmax(votes: Votes, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
        return votes.compete(nn.functional.pad(logits, (0, 1)))[..., :-1]

    def extra_repr(self) -> str:
        """What print(model) shows."""
        used = {
            "gradient=last": self.gradient == "last",
            "leaky": self.leaky,
            "priors": self.priors is not None,
            "bias": self.bias is not None,
            f"temperature={self.temperature:g}": self.temperature != 1,
            f"scale={self.scale:g}": self.scale != 1,
        }
        return ", ".join([super().extra_repr(), f"iterations={self.iterations}", *filter(used.get, used)])
