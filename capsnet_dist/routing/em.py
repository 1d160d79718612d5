"""EM routing (Hinton et al., 2018, procedure 1)."""

import math
from typing import NamedTuple

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from capsnet_dist.capsules import Capsules
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count, Fraction, Positive
from capsnet_dist.routing.checks import at_least_one, positive
from capsnet_dist.routing.gaussian import log_density
from capsnet_dist.votes import Votes

LEAST_MASS = 1e-7  # added to what a whole receives, in the authors' code: a whole without parts has a mean too
UNIT_OF_BETA_A = 5000  # in which the authors' code learns the benefit of an active whole


class Wholes(NamedTuple):
    """What an M-step finds."""

    means: Float[Tensor, "b j d"]
    variances: Float[Tensor, "b j d"]
    logits: Float[Tensor, "b j"]
    """Of the activations."""


@routings.register("em")
class EMRouting(Routing):
    """Wholes are Gaussians that explain the votes, fitted by expectation maximisation (Hinton et al., 2018, proc. 1).

    Constants and stabilisers are those of the authors' code. Its cost of a whole is twice the paper's, and its betas
    are other units of the paper's: sum_h cost_h = r (sum_h ln sigma_h + beta_u d (ln 2 pi + 1) / 2). It begins with
    an even share for all wholes that see a part, as the paper does.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; it ends on an M-step.
        final_beta: What the inverse temperature (the paper's lambda) tends to: in iteration t it is
            final_beta (1 - 0.95^t). The authors take a quarter of it for class capsules.
        min_variance: Added to the variance of a whole, which would be zero with a single part.
        momentum: Share of the mean of the iteration before, zero before the first, in the mean of an iteration.
        beta_u: Initial cost of describing a part by a whole; the authors take 2 for class capsules.
        beta_a: Initial cost of an active whole, in units of 5000; the authors take 1 for class capsules.

    Raises:
        UserError: fewer than one iteration, final_beta or min_variance not above zero, momentum outside [0, 1).
    """

    needs_activations = True

    def __init__(
        self,
        parts: int,
        part_dim: int,
        wholes: int,
        dim: int,
        *,
        iterations: Count = 3,
        final_beta: Positive = 0.01,
        min_variance: Positive = 5e-4,
        momentum: Fraction = 0.1,
        beta_u: float = 0.5,
        beta_a: float = 0.5,
    ) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        positive("final_beta", final_beta)
        positive("min_variance", min_variance)
        if not 0 <= momentum < 1:
            raise UserError(f"momentum={momentum} must be at least 0 and below 1.")
        self.iterations, self.final_beta = iterations, final_beta
        self.min_variance, self.momentum = min_variance, momentum
        self.beta_u = nn.Parameter(torch.full((wholes,), beta_u))
        self.beta_a = nn.Parameter(torch.full((wholes,), beta_a))

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Alternate E-step and M-step; the E-step is in the log domain."""
        none = votes.poses.new_zeros(votes.poses.shape[0], self.wholes, self.dim)
        wholes = self._m_step(votes, votes.even() * activations[..., None], none, 1)
        for t in range(2, self.iterations + 1):
            evidence = log_density(votes, wholes.means, wholes.variances)
            coupling = votes.compete(logsigmoid(wholes.logits)[:, None] + evidence)
            wholes = self._m_step(votes, coupling * activations[..., None], wholes.means, t)
        return Capsules(wholes.means, wholes.logits.sigmoid())

    def _m_step(
        self,
        votes: Votes,
        share: Float[Tensor, "b i j"],
        old_means: Float[Tensor, "b j d"],
        t: int,
    ) -> Wholes:
        """The wholes that explain best what each gets of the parts, in iteration t."""
        mass = reduce(share, "b i j -> b j", "sum") + LEAST_MASS
        means = (1 - self.momentum) * votes.combine(share) / mass[..., None] + self.momentum * old_means
        variances = votes.spread(share, means) / mass[..., None] + self.min_variance
        return Wholes(means, variances, self._benefit(mass, variances, t))

    def _benefit(self, mass: Float[Tensor, "b j"], variances: Float[Tensor, "b j d"], t: int) -> Float[Tensor, "b j"]:
        """Logit of each whole's activation: what it saves by explaining its votes, at iteration t's temperature."""
        inverse_temperature = self.final_beta * (1 - 0.95**t)  # 0.95: the authors' code
        entropy = reduce(variances.log(), "b j d -> b j", "sum") + self.beta_u * self.dim * (math.log(2 * math.pi) + 1)
        return -inverse_temperature * (mass * entropy + UNIT_OF_BETA_A * self.beta_a)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        constants = ("iterations", "final_beta", "min_variance", "momentum")
        return ", ".join([super().extra_repr(), *(f"{name}={getattr(self, name)}" for name in constants)])
