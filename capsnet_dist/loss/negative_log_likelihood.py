"""Negative log-likelihood of activations that are shares of the classes (Hahn et al., 2019)."""

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Positive


@losses.register("negative_log_likelihood")
class NegativeLogLikelihood:
    """-ln a_t of the true class t, for scores that sum to one over the classes, as self-routing's (Hahn et al., 2019).

    Only the true class costs anything, so scores that do not share a sum, such as lengths, would all grow.

    Args:
        epsilon: Added to the activation, so that loss and gradient are finite at zero; -ln 1e-6 is 13.8.

    Raises:
        UserError: epsilon is not positive.
    """

    def __init__(self, *, epsilon: Positive = 1e-6) -> None:
        if not epsilon > 0:
            raise UserError(f"epsilon={epsilon}: must be positive.")
        self.epsilon = epsilon

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, " b"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "negative_log_likelihood"."""
        target = output.scores.gather(1, rearrange(labels, "b -> b 1"))
        return {"negative_log_likelihood": -(target + self.epsilon).log().mean()}
