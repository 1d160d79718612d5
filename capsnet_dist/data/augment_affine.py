"""Augmentations that turn, shear, stretch and move."""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

from capsnet_dist.data.resample import pick, warp, window
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.ranges import Amount, Fraction


@augmentations.register("affine")
class Affine(Augmentation):
    """Stretch, shear, turn and move each image about its middle, black coming in. The defaults are affNIST's ranges.

    Every amount is drawn anew for each image, all up to the largest being equally likely.

    Args:
        rotation: Largest angle in either direction, in degrees.
        shear: Largest shift of a row against the next, in pixels.
        scale: How much height and width, each for itself, grow or shrink at most: 0.2 is from 0.8 to 1.2 times.
        translation: Largest shift in each direction, in pixels, not only whole ones.
    """

    num_draws = 6

    def __init__(
        self, *, rotation: Amount = 20.0, shear: Amount = 0.2, scale: Fraction = 0.2, translation: Amount = 0.0
    ) -> None:
        self.rotation, self.shear, self.scale, self.translation = rotation, shear, scale, translation

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The changed images."""
        drawn = 2 * draws.double() - 1
        linear = backwards(
            drawn[:, 0] * math.radians(self.rotation), drawn[:, 1] * self.shear, 1 + self.scale * drawn[:, 2:4]
        )
        offset = -(linear * rearrange(drawn[:, 4:] * self.translation, "b d -> b 1 d")).sum(dim=2)
        height, width = images.shape[2:]
        return warp(images, linear, offset, height, width)


def backwards(
    angle: Float64[Tensor, " b"], shear: Float64[Tensor, " b"], scale: Float64[Tensor, "b 2"]
) -> Float64[Tensor, "b 2 2"]:
    """From where a pixel comes to a place, if images are stretched, then sheared, then turned; rows first.

    Args:
        angle: In radians, counter-clockwise.
        shear: Columns that a row is shifted against the one above.
        scale: Factors of height and width.
    """
    cosine, sine = angle.cos(), angle.sin()
    down, right = torch.stack([cosine, sine], dim=1), torch.stack([-sine, cosine], dim=1)
    right = right - rearrange(shear, "b -> b 1") * down
    return torch.stack([down, right], dim=1) / rearrange(scale, "b d -> b d 1")


@augmentations.register("place")
class Place(Augmentation):
    """Move what is not black in each image to any place where it remains inside, by whole pixels, as affNIST has it.

    All such places are equally likely.
    """

    num_draws = 2

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The moved images."""
        shifts: list[Int64[Tensor, " b"]] = []
        for (before, after), share in zip(margins(images), draws.unbind(1), strict=True):
            shifts.append((share * (before + after + 1)).long() - before)
        return roll(images, *shifts)


def margins(images: UInt8[Tensor, "b c h w"]) -> list[tuple[Int64[Tensor, " b"], Int64[Tensor, " b"]]]:
    """How many rows, and how many columns, are black before and after what is not; all of them in a black image."""
    found: list[tuple[Int64[Tensor, " b"], Int64[Tensor, " b"]]] = []
    for axes, length in (((1, 3), images.shape[2]), ((1, 2), images.shape[3])):
        number = torch.arange(length, device=images.device)
        is_used = images.amax(dim=axes) > 0
        found.append(
            (length - (is_used * (length - number)).amax(dim=1), length - (is_used * (number + 1)).amax(dim=1))
        )
    return found


def roll(
    images: UInt8[Tensor, "b c h w"], down: Int64[Tensor, " b"], right: Int64[Tensor, " b"]
) -> UInt8[Tensor, "b c h w"]:
    """Each image moved by whole pixels; what leaves on one side comes in on the other."""
    height, width = images.shape[2:]
    return pick(images, window(-down, height) % height, window(-right, width) % width)
