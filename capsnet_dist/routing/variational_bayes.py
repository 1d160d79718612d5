"""Variational Bayes routing (Ribeiro et al., 2020, algorithm 1)."""

import math
from typing import NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Routing, routings
from capsnet_dist.ranges import Count
from capsnet_dist.routing.checks import at_least_one
from capsnet_dist.votes import Votes

# The priors of the paper's experiments; those of the Wishart distribution are Psi_0 = I and nu_0 = d + 1.
ALPHA_0 = 1.0  # Dirichlet: one part for every whole
KAPPA_0 = 1.0  # Gaussian: one part at m_0 = 0


class Wholes(NamedTuple):
    """What is known of the wholes, given the couplings."""

    means: Float[Tensor, "b j d"]
    """m_j."""
    inverse_psi: Float[Tensor, "b j d"]
    """Diagonal of the inverse of Psi_j."""
    kappa: Float[Tensor, "b j"]
    nu: Float[Tensor, "b j"]
    log_pi: Float[Tensor, "b j"]
    """Expected logarithm of the mixing proportion."""
    log_precision: Float[Tensor, "b j"]
    """Expected logarithm of the determinant of the precision."""


@routings.register("variational_bayes")
class VariationalBayesRouting(Routing):
    """A Bayesian mixture of Gaussians, with diagonal precisions, fitted to the votes (Ribeiro et al., 2020, alg. 1).

    It models the uncertainty of means and precisions, so that the variance of a whole cannot collapse. As in the
    authors' code, poses and activations are batch-normalised: poses over batch, positions and numbers of the pose. The
    paper's beta_a and beta_u stand before the normalisation of the activations, which subtracts them again: there are
    none.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Pose size of a whole, d.
        iterations: Routing iterations; it ends on an update of the wholes.

    Raises:
        UserError: fewer than one iteration, or training on a single sample with a single position.
    """

    needs_activations = True

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, *, iterations: Count = 3) -> None:
        super().__init__(parts, part_dim, wholes, dim)
        at_least_one(iterations)
        self.iterations = iterations
        self.pose_norm = nn.BatchNorm1d(wholes, affine=False)
        self.activation_norm = nn.BatchNorm1d(wholes, affine=False)

    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """Alternate the posteriors of the wholes and of the couplings."""
        if self.training and activations.shape[0] < 2:
            raise UserError("Variational Bayes routing normalises over the batch: train on 2 or more images at a time.")
        wholes = self._wholes(votes, votes.even() * activations[..., None])
        for _ in range(self.iterations - 1):
            coupling = votes.compete(self._log_responsibility(votes, wholes))
            wholes = self._wholes(votes, coupling * activations[..., None])
        entropy = 0.5 * self.dim * math.log(2 * math.pi * math.e) - 0.5 * wholes.log_precision
        activation = self.activation_norm(-wholes.log_pi.exp() * entropy).sigmoid()
        return Capsules(self.pose_norm(wholes.means), activation)

    def _wholes(self, votes: Votes, share: Float[Tensor, "b i j"]) -> Wholes:
        """Posterior of mixing proportions, means and precisions, from what each whole gets of the parts."""
        received = reduce(share, "b i j -> b j", "sum")
        alpha, kappa, nu = ALPHA_0 + received, KAPPA_0 + received, self.dim + 1 + received
        means = votes.combine(share) / kappa[..., None]
        # Sum r (V - mu)^2 + kappa_0 R / kappa mu^2, where mu would divide by R, which can be zero
        inverse_psi = 1 + votes.spread(share, means) + KAPPA_0 * means.square()
        log_pi = alpha.digamma() - reduce(alpha, "b j -> b 1", "sum").digamma()
        halves = (nu[..., None] - torch.arange(self.dim, device=nu.device)) / 2
        log_precision = reduce(halves.digamma() - inverse_psi.log(), "b j d -> b j", "sum") + self.dim * math.log(2)
        return Wholes(means, inverse_psi, kappa, nu, log_pi, log_precision)

    def _log_responsibility(self, votes: Votes, wholes: Wholes) -> Float[Tensor, "b i j"]:
        """E ln pi_j + E ln N(V_ij), but for (d/2) ln 2 pi, which wholes that compete have in common."""
        distance = votes.distances(wholes.means, wholes.inverse_psi.reciprocal())
        expected = rearrange(self.dim / wholes.kappa, "b j -> b 1 j") + rearrange(wholes.nu, "b j -> b 1 j") * distance
        return rearrange(wholes.log_pi + 0.5 * wholes.log_precision, "b j -> b 1 j") - 0.5 * expected

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, iterations={self.iterations}"
