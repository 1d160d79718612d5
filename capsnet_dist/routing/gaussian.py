"""Gaussian wholes: how likely a vote is under a whole with a mean and a variance for each number of its pose."""

from einops import einsum, rearrange, reduce
from jaxtyping import Float
from torch import Tensor


def squares(votes: Float[Tensor, "b i j d"], means: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j d"]:
    """Squared distance of each vote from the mean of its whole, number by number.

    The means are subtracted before squaring: E[V^2] - mu^2 needs less memory, but for votes of 1e4 and variances below
    1 the difference of two numbers near 1e8 would be all rounding.
    """
    return (votes - rearrange(means, "b j d -> b 1 j d")).square()


def log_density(squares: Float[Tensor, "b i j d"], variances: Float[Tensor, "b j d"]) -> Float[Tensor, "b i j"]:
    """Logarithm of the density of each vote, but for (d/2) ln 2 pi, which wholes that compete have in common."""
    distances = einsum(squares, variances.reciprocal(), "b i j d, b j d -> b i j")
    return -0.5 * (distances + reduce(variances.log(), "b j d -> b 1 j", "sum"))
