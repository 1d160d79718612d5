"""Decoders by transposed convolutions (Rajasegaran et al., 2019: DeepCaps, section 3.3)."""

import itertools

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.layer.decoder import mask
from capsnet_dist.plugins import Decoder, Image, decoders
from capsnet_dist.ranges import Counts

START = 16  # channels of the first map in the authors' code


class Deconvolutions(nn.Module):
    """Numbers to an image: a small map, then transposed convolutions, all but the first of which double it.

    What they make is cut to the size of the image.

    Args:
        inputs: How many numbers.
        image: Channels, height and width of the image.
        channels: Channels of each transposed convolution.

    Raises:
        UserError: no channels, or an image too small to be doubled so often.
    """

    def __init__(self, inputs: int, image: Image, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.image = image
        height, width = image[1:]
        factor = 2 ** (len(channels) - 1)
        if not channels or min(height, width) <= factor:
            raise UserError(
                f"Images of {height}x{width} pixels cannot be made by {len(channels)} transposed convolutions: "
                f"{'at least one is needed' if not channels else 'use fewer channels'}."
            )
        self.start = -(-height // factor), -(-width // factor)  # rounded up
        self.dense = nn.Linear(inputs, START * self.start[0] * self.start[1])
        steps: list[nn.Module] = [nn.BatchNorm2d(START, momentum=0.2)]  # 0.2: the authors' code (0.8 in Keras)
        for number, (before, after) in enumerate(itertools.pairwise((START, *channels))):
            stride = 2 if number else 1
            steps += [nn.ConvTranspose2d(before, after, 3, stride, padding=1, output_padding=stride - 1), nn.ReLU()]
        self.steps = nn.Sequential(*steps, nn.ConvTranspose2d(channels[-1], image[0], 3, padding=1), nn.Sigmoid())

    def forward(self, numbers: Float[Tensor, "b n"]) -> Float[Tensor, "b c h w"]:
        """The images."""
        _, height, width = self.image
        rows, columns = self.start
        maps = rearrange(self.dense(numbers).relu(), "b (c h w) -> b c h w", h=rows, w=columns)
        return self.steps(maps)[:, :, :height, :width]


@decoders.register("class_independent")
class ClassIndependentDecoder(Decoder):
    """The pose of one class, without a word which class it is, so that all share its numbers' meaning (DeepCaps, 2019).

    For images of 64x64 pixels the authors take channels 64 32 16 8. Their code has no nonlinearity between the
    convolutions and a ReLU after the last; here it is a ReLU after each and a sigmoid, since pixels lie in [0, 1].

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        dim: Pose size of a class capsule, d.
        channels: Channels of each transposed convolution; all but the first double the map.

    Raises:
        UserError: the image is too small to be doubled so often.
    """

    def __init__(self, image: Image, classes: int, dim: int, *, channels: Counts = (64, 32, 16)) -> None:
        super().__init__()
        self.deconvolutions = Deconvolutions(dim, image, channels)

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Rebuild each image from the capsule of its label."""
        sample = torch.arange(labels.shape[0], device=labels.device)  # len() would fix it in a graph
        return self.deconvolutions(poses[sample, labels])


@decoders.register("deconvolution")
class DeconvolutionDecoder(Decoder):
    """Transposed convolutions on the capsule of one class, the others set to zero (after DeepCaps, 2019).

    Far fewer parameters than fully connected layers, and more knowledge of what a pixel's neighbours are.

    Args:
        image: Channels, height and width of an image.
        classes: Number of classes, j.
        dim: Pose size of a class capsule, d.
        channels: Channels of each transposed convolution; all but the first double the map.

    Raises:
        UserError: the image is too small to be doubled so often.
    """

    def __init__(self, image: Image, classes: int, dim: int, *, channels: Counts = (64, 32, 16)) -> None:
        super().__init__()
        self.deconvolutions = Deconvolutions(classes * dim, image, channels)

    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"]:
        """Rebuild each image from the capsule of its label."""
        return self.deconvolutions(rearrange(mask(poses, labels), "b j d -> b (j d)"))
