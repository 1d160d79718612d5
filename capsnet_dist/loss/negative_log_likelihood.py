"""Negative log-likelihood of activations that are shares of the classes (Hahn et al., 2019)."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.loss.weights import ClassWeights, Weighing
from capsnet_dist.objects import Labels
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Positive


@losses.register("negative_log_likelihood")
class NegativeLogLikelihood(Weighing):
    """-ln a_t of the true class t, for scores that sum to one over the classes, as self-routing's (Hahn et al., 2019).

    Only the true class costs anything, so scores that do not share a sum, such as lengths, would all grow.

    Args:
        epsilon: Added to the activation, so that loss and gradient are finite at zero; -ln 1e-6 is 13.8.
        class_weights: "balanced": training counts each class as much as any other, whatever its share of the training
            images, by the weight n / (classes x count). Evaluation measures without weights.

    Raises:
        UserError: epsilon is not positive.
    """

    takes_mixed = True

    def __init__(self, *, epsilon: Positive = 1e-6, class_weights: ClassWeights = "none") -> None:
        super().__init__(class_weights)
        if not epsilon > 0:
            raise UserError(f"epsilon={epsilon}: must be positive.")
        self.epsilon = epsilon

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "negative_log_likelihood"."""
        if labels.is_floating_point():
            each = -(labels * (output.scores + self.epsilon).log()).sum(dim=1)
            return {"negative_log_likelihood": self.mean(each, labels)}
        target = output.scores.gather(1, rearrange(labels, "b -> b 1"))
        each = -rearrange(target + self.epsilon, "b 1 -> b").log()
        return {"negative_log_likelihood": self.mean(each, labels)}
