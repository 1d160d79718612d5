"""Efficient-CapsNet (Mazzia et al., 2021)."""

import math

from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.layer import DenseCapsules
from capsnet_dist.layer.voting import require_activations
from capsnet_dist.plugins import (
    Decoder,
    Image,
    Model,
    Output,
    Primary,
    Routing,
    Stem,
    decoders,
    models,
    primaries,
    routings,
    stems,
)
from capsnet_dist.ranges import Count
from capsnet_dist.registry import Choice


@models.register("efficient_capsnet")
class EfficientCapsNet(Model):
    """Efficient-CapsNet: few primary capsules by a depthwise convolution, self-attention routing (Mazzia et al., 2021).

    With the defaults and 28x28 images of 10 classes: 161,824 parameters outside the decoder. The options of the stem
    name the values for smallNORB (151,664) and MultiMNIST (154,656).

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        stem: How feature maps are made.
        primary: How the first capsules are made of them.
        dim: Pose size of a class capsule, d.
        routing: How primary capsules agree on class capsules.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: the image is too small for the kernels, or the routing makes no activations.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        stem: Choice[Stem] = stems("efficient"),
        primary: Choice[Primary] = primaries("depthwise"),
        dim: Count = 16,
        routing: Choice[Routing] = routings("self_attention"),
        decoder: Choice[Decoder] = decoders("masked"),
    ) -> None:
        super().__init__(image, classes)
        self.stem = stem.build(image)
        self.primary = primary.build(self.stem.maps)
        parts = self.primary.outputs
        deviation = math.sqrt(2 / (classes * parts.num_capsules * parts.dim))  # he_normal of [classes, parts, p, d]
        self.class_capsules = DenseCapsules(parts, wholes=classes, dim=dim, deviation=deviation, routing=routing)
        require_activations(self.class_capsules, routing)
        self.decoder = decoder.build(image, classes, dim)

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are the activations of the class capsules: their lengths."""
        maps = self.stem(images)
        poses, scores = self.class_capsules(self.primary(maps))
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, poses, self.rebuild(poses, kept))
