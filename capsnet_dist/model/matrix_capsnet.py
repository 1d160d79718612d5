"""Matrix capsules with EM routing (Hinton et al., 2018, figure 1)."""

import math

from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.geometry import output_side, require_maps
from capsnet_dist.layer.matrix import MatrixPrimary
from capsnet_dist.layer.shared import SharedCapsules
from capsnet_dist.layer.stack import convolutional_stack
from capsnet_dist.layer.voting import require_activations
from capsnet_dist.plugins import Decoder, Image, Model, Output, Routing, decoders, models, routings
from capsnet_dist.ranges import Count, Counts
from capsnet_dist.registry import Choice

PIXEL = 0.01  # what one pixel adds to a coordinate in the authors' code


@models.register("matrix_capsnet")
class MatrixCapsNet(Model):
    """Capsules with matrices as poses, and an activation apart from them (Hinton et al., 2018, figure 1).

    The defaults are A = B = C = D = 32; the paper's small network has A = 64, B = 8, C = D = 16. Initial weights are
    those of the authors' code: truncated normals, with a deviation for each kind of layer. Routing follows the paper:
    wholes of all types and positions that see a part compete for it, where their code lets the positions of one type
    compete among themselves.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution, A.
        kernel: Side of its kernel, in pixels.
        stride: Step of its kernel, in pixels.
        primary_types: Types of primary capsule, B.
        types: Types of capsule of each convolutional layer, C and D.
        kernels: Side of the windows of each, in positions.
        strides: Step between the windows of each, in positions.
        side: Rows and columns of a pose.
        routing: How parts agree on wholes in the convolutional layers.
        class_routing: How they agree on class capsules; the authors take other constants for EM there.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: the image is too small, not as many kernels or strides as types, or a routing needs activations that
            the layer below does not make, or makes none for the classes.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Count = 32,
        kernel: Count = 5,
        stride: Count = 2,
        primary_types: Count = 32,
        types: Counts = (32, 32),
        kernels: Counts = (3, 3),
        strides: Counts = (2, 1),
        side: Count = 4,
        routing: Choice[Routing] = routings("em"),
        class_routing: Choice[Routing] = routings("em", final_beta=0.0025, beta_u=2.0, beta_a=1.0),
        decoder: Choice[Decoder] = decoders("none"),
    ) -> None:
        super().__init__(image, classes)
        inputs, height, width = image
        require_maps(image, image, (kernel, stride), *zip(kernels, strides, strict=False))
        maps = (channels, output_side(height, kernel, stride), output_side(width, kernel, stride))
        dim = side * side
        self.conv = nn.Conv2d(inputs, channels, kernel, stride)
        self.primary = MatrixPrimary(maps, types=primary_types, dim=dim)
        layers = convolutional_stack(self.primary.outputs, types, kernels, strides, rows=side, routing=routing)
        self.layers = nn.Sequential(*layers)
        self.class_capsules = SharedCapsules(
            layers[-1].outputs if layers else self.primary.outputs,
            wholes=classes,
            dim=dim,
            rows=side,
            step=PIXEL * stride * math.prod(strides),
            routing=class_routing,
        )
        require_activations(self.class_capsules, class_routing)
        self.decoder = decoder.build(image, classes, dim)
        self._initialize()

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules."""
        maps = self.conv(images).relu()
        capsules = self.layers(self.primary(maps))
        poses, scores = self.class_capsules(capsules)
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))

    def _initialize(self) -> None:
        """Truncated normals: their deviations in the authors' code."""
        deviations = {
            self.conv.weight: 0.05,
            self.primary.pose.weight: 0.5,
            self.primary.activation.weight: 3.0,
            **{weight: 0.3 for name, weight in self.layers.named_parameters() if name.endswith(".weight")},
            self.class_capsules.weight: 0.01,
        }
        for weight, std in deviations.items():
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
        assert self.conv.bias is not None
        nn.init.constant_(self.conv.bias, 0.1)
