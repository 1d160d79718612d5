"""Decoders: class capsules back to images (Sabour et al., 2017, section 4.1 and figure 2)."""

import itertools
import math

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import one_hot

from capsnet_dist.plugins import Decoder, Image, decoders
from capsnet_dist.ranges import Counts


def mask(poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b j d"]:
    """The pose of each sample's label; those of the other classes become zero."""
    return poses * one_hot(labels, poses.shape[1]).to(poses.dtype)[..., None]


@decoders.register("masked")
class MaskedDecoder(Decoder):
    """Fully connected layers on the capsule of one class, the others set to zero (Sabour et al., 2017, figure 2).

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        dim: Pose size of a class capsule, d.
        hidden: Width of each hidden layer.
    """

    def __init__(self, image: Image, classes: int, dim: int, *, hidden: Counts = (512, 1024)) -> None:
        super().__init__()
        self.image = image
        widths = (classes * dim, *hidden)
        steps = [step for a, b in itertools.pairwise(widths) for step in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*steps, nn.Linear(widths[-1], math.prod(image)), nn.Sigmoid())

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Rebuild each image from the capsule of its label."""
        pixels = self.layers(rearrange(mask(poses, labels), "b j d -> b (j d)"))
        channels, height, _ = self.image
        return rearrange(pixels, "b (c h w) -> b c h w", c=channels, h=height)


@decoders.register("none")
class NoDecoder(Decoder):
    """Rebuild nothing: train on the classes alone."""

    def __init__(self, image: Image, classes: int, dim: int) -> None:
        super().__init__()

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> None:
        """None."""
