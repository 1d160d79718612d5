"""The convolutional baseline of CapsNet (Sabour et al., 2017, sections 5 and 6)."""

import itertools
import math

from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.kernels import FastConv2d
from capsnet_dist.plugins import Image, Model, Output, models
from capsnet_dist.ranges import Count, Counts, Fraction


@models.register("cnn")
class CNN(Model):
    """The network that CapsNet is compared with (Sabour et al., 2017, section 5). Train with cross entropy.

    With the defaults and 1x28x28 images of 10 classes: 35,445,522 parameters. For MultiMNIST (section 6, 24,563,978):
    channels 512 256, kernels 9 5, pooling 2, hidden 1024 and dropout 0.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        channels: Channels of each convolution.
        kernels: Side of each kernel, in pixels; odd. The image is padded with zeros to keep its size.
        pooling: Side of the squares after each convolution of which only the largest value is kept; 1 keeps all.
        hidden: Width of each hidden layer after them.
        dropout: Share of the last hidden layer that is dropped in training.

    Raises:
        UserError: channels and kernels are not equally many, an even kernel, or the image is too small to be pooled.
    """

    def __init__(
        self,
        image: Image,
        classes: int,
        *,
        channels: Counts = (256, 256, 128),
        kernels: Counts = (5, 5, 5),
        pooling: Count = 1,
        hidden: Counts = (328, 192),
        dropout: Fraction = 0.5,
    ) -> None:
        super().__init__(image, classes)
        inputs, *sides = image
        if not 0 < len(channels) == len(kernels) or not all(kernel % 2 for kernel in kernels):
            raise UserError(f"kernels={kernels}: must be odd, and as many as channels={channels}.")
        if min(sides) < pooling ** len(kernels):
            size = "x".join(map(str, sides))
            smallest = pooling ** len(kernels)
            raise UserError(f"Images of {size} pixels are too small to be pooled: at least {smallest}x{smallest}.")
        steps: list[nn.Module] = []
        for before, after, kernel in zip((inputs, *channels), channels, kernels, strict=False):
            steps += [FastConv2d(before, after, kernel, padding=kernel // 2), nn.ReLU()]
            steps += [nn.MaxPool2d(pooling)] * (pooling > 1)
        self.convolutions = nn.Sequential(*steps)
        left = [side // pooling ** len(kernels) for side in sides]
        widths = (channels[-1] * math.prod(left), *hidden)
        dense = [step for a, b in itertools.pairwise(widths) for step in (nn.Linear(a, b), nn.ReLU())]
        self.dense = nn.Sequential(*dense, nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def forward(self, images: Float[Tensor, "b c h w"], labels: Int64[Tensor, "b *m"] | None = None) -> Output:
        """Scores are logits; there are no capsules, so the logit of a class stands for its pose."""
        maps = self.convolutions(images)
        scores = self.dense(rearrange(maps, "b c h w -> b (c h w)"))
        return Output(scores, rearrange(scores, "b j -> b j 1"), None)
