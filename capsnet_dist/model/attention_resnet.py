"""Capsules with inverted dot-product attention on a residual network (Tsai et al., 2020, figure 1)."""

import itertools
import math
from typing import Literal, Protocol, runtime_checkable

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules
from capsnet_dist.errors import UserError
from capsnet_dist.geometry import require_maps
from capsnet_dist.layer.dense import DenseCapsules
from capsnet_dist.layer.normalized import NormalizedPrimary
from capsnet_dist.layer.stack import convolutional_stack
from capsnet_dist.layer.voting import VotingLayer
from capsnet_dist.plugins import Decoder, Image, Model, Output, Routing, Stem, decoders, models, routings, stems
from capsnet_dist.ranges import Count, Counts
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


@runtime_checkable
class Stepwise(Protocol):
    """A routing that can be taken step by step, so that all layers route at once."""

    iterations: int

    def begin(self, votes: Votes) -> Float[Tensor, "b j d"]:
        """Poses of the first iteration."""
        ...

    def update(self, votes: Votes, poses: Float[Tensor, "b j d"]) -> Float[Tensor, "b j d"]:
        """Poses of the next iteration, from those of the iteration before."""
        ...


@models.register("attention_resnet")
class AttentionResNet(Model):
    """Parts choose among wholes by attention, in all layers at once (Tsai et al., 2020, figure 1, procedure 2).

    The defaults are for CIFAR-10: 1,828,817 parameters with 3 x 32 x 32 images. For CIFAR-100 side=6 and hidden=(20,):
    2,799,629.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        stem: What makes the feature maps.
        primary_types: Types of primary capsule.
        types: Types of capsule of each convolutional layer.
        kernels: Side of the windows of each, in positions.
        strides: Step between the windows of each, in positions.
        hidden: Capsules of each fully connected layer below the classes.
        side: Rows and columns of a pose.
        schedule: "concurrent": one pass bottom up, then in each iteration all layers at once, from the poses of the
            iteration before. "sequential": every iteration of a layer before the next layer.
        routing: How parts agree on wholes in every layer.
        decoder: How an image is rebuilt from a class capsule.

    Raises:
        UserError: the image is too small, not as many kernels or strides as types, or the routing needs activations, or
            cannot be taken step by step where layers route at once.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        stem: Choice[Stem] = stems("resnet", widths=(64, 128), blocks=(3, 4), shortcut="project"),
        primary_types: Count = 32,
        types: Counts = (32, 32),
        kernels: Counts = (3, 3),
        strides: Counts = (2, 1),
        hidden: Counts = (),
        side: Count = 4,
        schedule: Literal["concurrent", "sequential"] = "concurrent",
        routing: Choice[Routing] = routings("attention"),
        decoder: Choice[Decoder] = decoders("none"),
    ) -> None:
        super().__init__(image, classes)
        dim = side * side
        self.schedule = schedule
        self.stem = stem.build(image)
        require_maps(image, self.stem.maps, *zip(kernels, strides, strict=False))
        self.primary = NormalizedPrimary(self.stem.maps, types=primary_types, dim=dim)
        layers: list[VotingLayer] = [
            *convolutional_stack(
                self.primary.outputs, types, kernels, strides, rows=side, competition="window", routing=routing
            )
        ]
        for wholes in (*hidden, classes):
            below = layers[-1].outputs if layers else self.primary.outputs
            layers.append(DenseCapsules(below, wholes=wholes, dim=dim, rows=side, routing=routing))
        if schedule == "concurrent" and not isinstance(layers[-1].routing, Stepwise):
            raise UserError(f"Routing {routing.name!r} cannot be taken step by step. Set schedule to 'sequential'.")
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(dim, 1)
        self.decoder = decoder.build(image, classes, dim)
        self._initialize(layers)

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are logits, from the pose of each class capsule by one classifier for all."""
        primary = self.primary(self.stem(images))
        classes = self.layers(primary) if self.schedule == "sequential" else self._route_at_once(primary)
        scores = rearrange(self.classifier(classes.poses), "b j 1 -> b j")
        kept = scores.argmax(dim=-1) if labels is None else labels
        return Output(scores, classes.poses, self.rebuild(classes.poses, kept))

    def _route_at_once(self, primary: Capsules) -> Capsules:
        """Concurrent routing (procedure 2), without the updates that no longer reach the classes."""
        layers = [layer for layer in self.layers if isinstance(layer, VotingLayer)]
        with torch.autocast(primary.poses.device.type, enabled=False):
            states = [primary]
            for layer in layers:
                states.append(_begin(layer, states[-1]))
            for left in range(_stepwise(layers[-1]).iterations - 1, 0, -1):
                ahead = zip(layers[-left:], itertools.pairwise(states[-left - 1 :]), strict=True)
                updated = [_update(layer, below, above) for layer, (below, above) in ahead]
                states = states[: -len(updated)] + updated
        return states[-1]

    def _initialize(self, layers: list[VotingLayer]) -> None:
        """Normal matrices of variance j / (sqrt(d) i), as in the authors' code; with even shares a whole has 1 / j."""
        for layer in layers:
            parts, wholes, _, columns = layer.weight.shape
            nn.init.normal_(layer.weight, std=math.sqrt(wholes / (columns * parts)))


def _stepwise(layer: VotingLayer) -> Stepwise:
    assert isinstance(layer.routing, Stepwise)
    return layer.routing


def _begin(layer: VotingLayer, below: Capsules) -> Capsules:
    """The wholes of a layer in the first iteration."""
    votes, _ = layer.votes(below)
    return layer.join(_without_activations(_stepwise(layer).begin(votes)))


def _update(layer: VotingLayer, below: Capsules, above: Capsules) -> Capsules:
    """The wholes of a layer in the next iteration, from the capsules below it and its own of the iteration before."""
    votes, _ = layer.votes(below)
    return layer.join(_without_activations(_stepwise(layer).update(votes, layer.split(above).poses)))


def _without_activations(poses: Float[Tensor, "b j d"]) -> Capsules:
    return Capsules(poses, poses.new_ones(poses.shape[:2]))
