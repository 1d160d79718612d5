"""Gaussian wholes: how likely a vote is under a whole with a mean and a variance for each number of its pose."""

from einops import reduce
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.votes import Votes


def log_density(
    votes: Votes, means: Float[Tensor, "b j d"], variances: Float[Tensor, "b j d"]
) -> Float[Tensor, "b i j"]:
    """Logarithm of the density of each vote, but for (d/2) ln 2 pi, which wholes that compete have in common."""
    distances = votes.distances(means, variances.reciprocal())
    return -0.5 * (distances + reduce(variances.log(), "b j d -> b 1 j", "sum"))
