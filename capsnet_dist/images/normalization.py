"""What a network does to pixels first. Losses and decoders see them in [0, 1], as they were."""

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.capsules import at_least_float32

Normalization = Literal["network", "none", "image", "channels", "symmetric"]
"""What is done to the pixels; "network": what its authors did."""
KINDS = tuple(kind for kind in get_args(Normalization) if kind != "network")


class Symmetric(nn.Module):
    """Pixels in [-1, 1]."""

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Twice the pixels, less one."""
        return 2 * images - 1


class ByImage(nn.Module):
    """Each image less its mean, over its deviation, all channels together.

    As TensorFlow's `per_image_standardization`, in the code of Sabour et al. (2017) for CIFAR-10: no deviation is taken
    to be below 1 / sqrt(n) of a shade, with n pixels and channels, so that an image of one shade becomes zeros.
    """

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Images of mean 0 and deviation 1, computed in float32 at least."""
        pixels = at_least_float32(images)
        centred = pixels - pixels.mean((1, 2, 3), keepdim=True)
        smallest = 1 / (255**2 * math.prod(images.shape[1:]))
        variance = centred.square().mean((1, 2, 3), keepdim=True).clamp(min=smallest)
        return (centred / variance.sqrt()).to(images.dtype)


class ByChannel(nn.Module):
    """Each channel less the mean of its training pixels, over their deviation; both are saved with the weights.

    Args:
        channels: Of an image.
    """

    mean: Float[Tensor, " c"]
    """What is subtracted from pixels in [0, 1]."""
    deviation: Float[Tensor, " c"]
    """What they are divided by then."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("deviation", torch.ones(channels))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Channels of mean 0 and deviation 1, over all training images."""
        return (images - rearrange(self.mean, "c -> c 1 1")) / rearrange(self.deviation, "c -> c 1 1")

    @torch.no_grad()
    def measure(self, counts: Sequence[Sequence[int]]) -> None:
        """Take mean and deviation from how often each shade occurs in each channel, of 256 shades.

        Integers are exact, so the numbers do not depend on the order in which images were counted. A channel of one
        shade alone is not divided by zero: it is left as wide as it is.
        """
        for channel, times in enumerate(counts):
            number = sum(times)
            total = sum(shade * count for shade, count in enumerate(times))
            squares = sum(shade**2 * count for shade, count in enumerate(times))
            self.mean[channel] = total / (255 * number)
            self.deviation[channel] = math.sqrt(number * squares - total**2) / (255 * number) or 1.0

    def extra_repr(self) -> str:
        """What print(model) shows."""
        numbers = (" ".join(f"{number:.3f}" for number in held.tolist()) for held in (self.mean, self.deviation))
        return "mean={}, deviation={}".format(*numbers)


def make_normalization(kind: Normalization, channels: int) -> nn.Module | None:
    """The first step of a network whose images have so many channels; nothing where pixels stay as they are."""
    match kind:
        case "symmetric":
            return Symmetric()
        case "image":
            return ByImage()
        case "channels":
            return ByChannel(channels)
        case _:
            return None
