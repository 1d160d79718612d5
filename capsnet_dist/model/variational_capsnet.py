"""Capsules with variational Bayes routing (Ribeiro et al., 2020, section 5)."""

import math

from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.geometry import output_side, require_maps
from capsnet_dist.layer.matrix import MatrixPrimary
from capsnet_dist.layer.shared import SharedCapsules
from capsnet_dist.layer.stack import convolutional_stack
from capsnet_dist.layer.voting import VotingLayer, require_activations
from capsnet_dist.plugins import Decoder, Image, Model, Output, Routing, decoders, models, routings
from capsnet_dist.ranges import Count, Counts
from capsnet_dist.registry import Choice


@models.register("variational_capsnet")
class VariationalCapsNet(Model):
    """Matrix capsules as Gaussians with priors, normalised between layers (Ribeiro et al., 2020, section 5).

    The defaults are the authors' [64, 8, 16, 16]. As in their code, cross entropy is to take the class activations,
    which lie in [0, 1], for logits. Coordinates go up to 0.1 at the last row and column, as in the paper; the authors'
    code means to do so but tests the wrong axis, and adds 0.1 to both elements of every vote.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of the first convolution.
        kernel: Side of its kernel, in pixels.
        stride: Step of its kernel, in pixels.
        primary_types: Types of primary capsule.
        types: Types of capsule of each convolutional layer.
        kernels: Side of the windows of each, in positions.
        strides: Step between the windows of each, in positions.
        side: Rows and columns of a pose.
        routing: How parts agree on wholes in every layer.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: the image is too small, not as many kernels or strides as types, or the routing does not make
            activations.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Count = 64,
        kernel: Count = 5,
        stride: Count = 2,
        primary_types: Count = 8,
        types: Counts = (16, 16),
        kernels: Counts = (3, 3),
        strides: Counts = (2, 1),
        side: Count = 4,
        routing: Choice[Routing] = routings("variational_bayes"),
        decoder: Choice[Decoder] = decoders("none"),
    ) -> None:
        super().__init__(image, classes)
        inputs, height, width = image
        require_maps(image, image, (kernel, stride), *zip(kernels, strides, strict=False))
        maps = (channels, output_side(height, kernel, stride), output_side(width, kernel, stride))
        dim = side * side
        self.conv = nn.Conv2d(inputs, channels, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.primary = MatrixPrimary(maps, types=primary_types, dim=dim, normalization="type", threshold=0.0)
        layers = convolutional_stack(self.primary.outputs, types, kernels, strides, rows=side, routing=routing)
        self.layers = nn.Sequential(*layers)
        top = layers[-1].outputs if layers else self.primary.outputs
        step = 0.1 / max(top.height, top.width)  # up to 0.1 at the last row or column
        self.class_capsules = SharedCapsules(
            top, wholes=classes, dim=dim, rows=side, step=step, origin="corner", routing=routing
        )
        require_activations(self.class_capsules, routing)
        self.decoder = decoder.build(image, classes, dim)
        self._initialize()

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules."""
        maps = self.norm(self.conv(images)).relu()
        capsules = self.layers(self.primary(maps))
        poses, scores = self.class_capsules(capsules)
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))

    def _initialize(self) -> None:
        """As the authors' code: uniform distributions of He for the convolution, of Glorot for capsules."""
        nn.init.kaiming_uniform_(self.conv.weight)
        nn.init.xavier_uniform_(self.primary.pose.weight)
        nn.init.xavier_uniform_(self.primary.activation.weight)
        for layer in (*self.layers, self.class_capsules):
            assert isinstance(layer, VotingLayer)
            window = len(layer.weight) // layer.inputs.types  # positions that have matrices of their own
            fan = window * (layer.inputs.types * layer.inputs.dim + layer.outputs.types * layer.outputs.dim)
            bound = math.sqrt(6 / fan)
            nn.init.uniform_(layer.weight, -bound, bound)
