"""A residual network with self-routing capsules on top (Hahn et al., 2019, section 4)."""

import math
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError
from capsnet_dist.layer.convolutional import ConvolutionalCapsules
from capsnet_dist.layer.dense import DenseCapsules
from capsnet_dist.layer.matrix import MatrixPrimary
from capsnet_dist.layer.normalization import PoseNormalization
from capsnet_dist.layer.untransformed import UntransformedCapsules
from capsnet_dist.layer.voting import require_activations
from capsnet_dist.plugins import Decoder, Image, Model, Output, Routing, Stem, decoders, models, routings, stems
from capsnet_dist.ranges import Count
from capsnet_dist.registry import Choice


@models.register("self_routing_resnet")
class SelfRoutingResNet(Model):
    """ResNet-20 with capsules that route themselves in place of its pooling and classifier (Hahn et al., 2019, SR-n).

    On 32x32 colour images of 10 classes: 931,664 parameters with a depth of 1, 3,187,536 with 2. The authors' baselines
    are `class_poses="matrix"` with dynamic routing (DR-n) and, with `rows=4`, with EM (EM-n).

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        stem: What makes the feature maps.
        depth: Layers of capsules that route, the class capsules included: 1 for SR-1, 2 for SR-2.
        types: Types of capsule of every layer but the last.
        dim: Pose size.
        rows: Rows of a pose, all of which take the same transformation; 4 for matrices of 4 x 4 numbers.
        class_poses: What votes for classes. "parts": the poses below, without matrices; in the paper class capsules
            have an activation only. "matrix": their product with matrices, for routings that find agreement.
        routing: How parts agree on wholes.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: depth below 1; or the routing does not make activations, or cannot do without matrices.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        stem: Choice[Stem] = stems("resnet"),
        depth: Count = 1,
        types: Count = 32,
        dim: Count = 16,
        rows: Count = 1,
        class_poses: Literal["parts", "matrix"] = "parts",
        routing: Choice[Routing] = routings("self_routing"),
        decoder: Choice[Decoder] = decoders("none"),
    ) -> None:
        super().__init__(image, classes)
        if depth < 1:
            raise UserError(f"depth={depth}: at least 1, the class capsules.")
        self.stem = stem.build(image)
        self.primary = MatrixPrimary(
            self.stem.maps, types=types, dim=dim, kernel=3, padding=1, normalization="number", threshold=0.0
        )
        self.layers = nn.Sequential()
        top = self.primary.outputs
        for level in range(1, depth):
            layer = NormalizedCapsules(top, stride=2 if level == 1 else 1, rows=rows, routing=routing)
            self.layers.append(layer)
            top = layer.routed.outputs
        if class_poses == "parts":
            self.class_capsules = UntransformedCapsules(top, wholes=classes, routing=routing)
        else:
            self.class_capsules = DenseCapsules(top, wholes=classes, dim=dim, rows=rows, routing=routing)
        require_activations(self.class_capsules, routing)
        self.decoder = decoder.build(image, classes, dim)
        self._initialize()

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules, which sum to one with self-routing."""
        capsules = self.layers(self.primary(self.stem(images)))
        poses, scores = self.class_capsules(capsules)
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))

    def _initialize(self) -> None:
        """Uniform distributions of He et al. (2015) for every convolution, as in the authors' code."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)


class NormalizedCapsules(nn.Module):
    """Convolutional capsules whose poses are batch-normalised, and which share parts in each window anew.

    Args:
        inputs: The capsules below; these have as many types and as large poses.
        stride: Step between windows of 3 x 3 positions.
        rows: Rows of a pose.
        routing: How parts agree on wholes.
    """

    def __init__(self, inputs: Grid, stride: int, rows: int, routing: Choice[Routing]) -> None:
        super().__init__()
        self.routed = ConvolutionalCapsules(
            inputs,
            types=inputs.types,
            dim=inputs.dim,
            kernel=3,
            stride=stride,
            padding=1,
            competition="window",
            rows=rows,
            routing=routing,
        )
        # what PyTorch's kaiming_uniform_ gives the authors
        bound = math.sqrt(6 / (inputs.types * (inputs.dim // rows) ** 2))
        nn.init.uniform_(self.routed.weight, -bound, bound)
        self.norm = PoseNormalization(self.routed.outputs, "number")

    def forward(self, capsules: Capsules) -> Capsules:
        """The wholes at all positions."""
        poses, activations = self.routed(capsules)
        return Capsules(self.norm(poses), activations)
