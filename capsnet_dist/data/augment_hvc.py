"""What homogeneous vector capsules were trained with on MNIST (Byerly et al., 2021)."""

import math

import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

from capsnet_dist.data.augment_affine import backwards, margins, roll
from capsnet_dist.data.augment_crop import blacken
from capsnet_dist.data.resample import warp
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Augmentation, augmentations

DEVIATION = 0.33  # of the normal distribution; what exceeds 1 is cut
DEGREES = 30.0
PATCH = 4  # pixels of a side
BORDER = 4  # where the first patch may begin


@augmentations.register("hvc")
class HVCAugmentation(Augmentation):
    """Turn half of the images; move each within its margins, narrow it and blacken a patch (Byerly et al., 2021).

    Amounts are normal with a deviation of a third of the largest: 30 degrees; the black margin of a random side; a
    quarter of the width. The patch has 4x4 pixels. The authors narrow with Lanczos's filter, this with a bilinear one.
    """

    num_draws = 10

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The changed images.

        Raises:
            UserError: images are too small for the patch.
        """
        height, width = images.shape[2:]
        if min(height, width) < BORDER + PATCH + 2:
            raise UserError(f"Augmentation hvc needs images of at least 10x10 pixels; they have {height}x{width}.")
        normal = _normal(draws[:, :5].double())
        sides = draws[:, 5:]
        turned = _turned(images, normal[:, 0] * (sides[:, 0] < 0.5))
        moved = _moved(turned, normal[:, 1:3].abs(), sides[:, 1:3] < 0.5)
        narrow = _narrowed(moved, normal[:, 3].abs(), normal[:, 4].abs())
        top, left = ((sides[:, 3 + i] * (images.shape[2 + i] - 9)).long() + BORDER for i in range(2))
        return blacken(narrow, top, left, PATCH, torch.ones_like(top, dtype=torch.bool))


def _normal(uniform: Float64[Tensor, "b k"]) -> Float64[Tensor, "b k"]:
    """Normal numbers of the authors' deviation, within 1."""
    return (math.sqrt(2) * DEVIATION * (2 * uniform - 1).erfinv()).clamp(-0.9999, 0.9999)


def _turned(images: UInt8[Tensor, "b c h w"], share: Float64[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
    """Turned by a share of the largest angle."""
    none = torch.zeros_like(share)
    linear = backwards(share * math.radians(DEGREES), none, torch.ones_like(torch.stack([none, none], dim=1)))
    height, width = images.shape[2:]
    return warp(images, linear, torch.stack([none, none], dim=1), height, width)


def _moved(
    images: UInt8[Tensor, "b c h w"], share: Float64[Tensor, "b 2"], is_back: Bool[Tensor, "b 2"]
) -> UInt8[Tensor, "b c h w"]:
    """Moved by a share of the black margin: up or left where it is to go back, else down or right."""
    shifts = [
        torch.where(is_back[:, axis], -(share[:, axis] * before).ceil(), (share[:, axis] * (after + 1)).floor()).long()
        for axis, (before, after) in enumerate(margins(images))
    ]
    return roll(images, *shifts)


def _narrowed(
    images: UInt8[Tensor, "b c h w"], share: Float64[Tensor, " b"], aside: Float64[Tensor, " b"]
) -> UInt8[Tensor, "b c h w"]:
    """Narrower by up to a quarter of the width and black on both sides, now and then by a pixel aside of the middle."""
    height, width = images.shape[2:]
    removed = (share * (width / 4) + 1).floor()
    left = (removed / 2).floor() + (2 * aside).floor()
    factor = width / (width - removed)
    centre = (width - 1) / 2
    offset = (centre - left + 0.5) * factor - 0.5 - centre
    linear = torch.zeros(len(images), 2, 2, dtype=torch.float64, device=images.device)
    linear[:, 0, 0], linear[:, 1, 1] = 1, factor
    return warp(images, linear, torch.stack([torch.zeros_like(offset), offset], dim=1), height, width)
