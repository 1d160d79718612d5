"""Cross entropy of the softmax over scores, for networks whose scores are logits (Tsai et al., 2020, section 3)."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from capsnet_dist.errors import UserError
from capsnet_dist.loss.weights import ClassWeights, Weighing
from capsnet_dist.objects import Labels
from capsnet_dist.plugins import Output, losses
from capsnet_dist.ranges import Fraction


@losses.register("cross_entropy")
class CrossEntropy(Weighing):
    """Cross entropy; the scores are logits of any sign and size, not lengths (Tsai et al., 2020).

    Args:
        smoothing: Share of the target that is spread evenly over all classes (Szegedy et al., 2016, section 7).
        class_weights: "balanced": training counts each class as much as any other, whatever its share of the training
            images, by the weight n / (classes x count). Evaluation measures without weights.

    Raises:
        UserError: a share outside [0, 1).
    """

    takes_mixed = True

    def __init__(self, *, smoothing: Fraction = 0.0, class_weights: ClassWeights = "none") -> None:
        super().__init__(class_weights)
        if not 0 <= smoothing < 1:
            raise UserError(f"smoothing={smoothing}: must be at least 0 and less than 1.")
        self.smoothing = smoothing

    def __call__(
        self, output: Output, images: Float[Tensor, "b c h w"], labels: Labels, progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The term "cross_entropy"."""
        if self.weights is None:  # not the mean of single values, which rounds otherwise
            return {"cross_entropy": functional.cross_entropy(output.scores, labels, label_smoothing=self.smoothing)}
        each = functional.cross_entropy(output.scores, labels, label_smoothing=self.smoothing, reduction="none")
        return {"cross_entropy": self.mean(each, labels)}
