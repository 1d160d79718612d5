"""Augmentations that cut and mirror: crops by whole pixels, crops of any size, flips, patches of black."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate, pad

from capsnet_dist.data.resample import pick, to_bytes, warp, window
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.ranges import Amount, Count, Natural, Share

DISTANCE = 3  # pixels that test crops are away from the middle at most
DIAGONALS = [(a * steps, b * steps) for steps in range(1, DISTANCE + 1) for a in (-1, 1) for b in (-1, 1)]


@augmentations.register("crop")
class Crop(Augmentation):
    """Cut a square out of each image, at a random place; evaluation sees the one in the middle.

    Args:
        side: Height and width of the square; 0: those of the image.
        padding: Black pixels added on each side before.
        tested: What evaluation and prediction see. "middle": the square there. "diagonals": that, and those 1, 2 and 3
            pixels away from it towards each corner, whose 13 scores are averaged (Hinton et al., 2018, smallNORB).
    """

    num_draws = 2

    def __init__(
        self, *, side: Natural = 0, padding: Natural = 4, tested: Literal["middle", "diagonals"] = "middle"
    ) -> None:
        self.side, self.padding, self.tested = side, padding, tested

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c y x"]:
        """The squares.

        Raises:
            UserError: they are larger than the padded images.
        """
        height, width, padded = self._prepared(images)
        free = [padded.shape[2] - height + 1, padded.shape[3] - width + 1]
        top, left = ((share * number).long() for share, number in zip(draws.unbind(1), free, strict=True))
        return pick(padded, window(top, height), window(left, width))

    def still(self, images: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c y x"]:
        """The squares in the middle."""
        return self._cut(images, [(0, 0)])[0]

    def views(self, images: UInt8[Tensor, "b c h w"]) -> "list[UInt8[Tensor, 'b c y x']]":
        """The squares in the middle, and those beside them if they are to be tested."""
        return self._cut(images, [(0, 0), *(DIAGONALS if self.tested == "diagonals" else [])])

    def _cut(
        self, images: UInt8[Tensor, "b c h w"], places: Sequence[tuple[int, int]]
    ) -> "list[UInt8[Tensor, 'b c y x']]":
        """The squares at some places, counted from the middle."""
        height, width, padded = self._prepared(images)
        top, left = (padded.shape[2] - height) // 2, (padded.shape[3] - width) // 2
        starts = [(top + down, left + right) for down, right in places]
        return [padded[..., down : down + height, right : right + width] for down, right in starts]

    def _prepared(self, images: UInt8[Tensor, "b c h w"]) -> tuple[int, int, UInt8[Tensor, "b c y x"]]:
        """Height and width to cut, and what they are cut from."""
        height, width = (self.side or side for side in images.shape[2:])
        padded = pad(images, [self.padding] * 4)
        if height > padded.shape[2] or width > padded.shape[3]:
            found = "x".join(map(str, padded.shape[2:]))
            raise UserError(f"Augmentation crop: side {self.side} is more than padded images have: {found} pixels.")
        if self.tested == "diagonals" and min(images.shape[2] - height, images.shape[3] - width) < 2 * DISTANCE:
            found = "x".join(map(str, images.shape[2:]))
            raise UserError(
                f"Augmentation crop: tested diagonals needs images {2 * DISTANCE} pixels larger than side {height}; "
                f"they have {found}."
            )
        return height, width, padded


@augmentations.register("resized_crop")
class ResizedCrop(Augmentation):
    """Cut a rectangle of random size and place out of each image, and bring it to one size (Szegedy et al., 2015).

    Pixels are interpolated between their four neighbours, whatever the sizes. Evaluation sees the largest square in the
    middle, or the whole image where the size stays.

    Args:
        side: Height and width of the result; 0: those of the image.
        area: Smallest share of the image that is kept; all from it to 1 are equally likely.
        stretch: How much longer one side of a square becomes than the other at most: a third is 4 to 3, or 3 to 4.
    """

    num_draws = 4

    def __init__(self, *, side: Natural = 0, area: Share = 0.08, stretch: Amount = 1 / 3) -> None:
        self.side, self.area, self.stretch = side, area, stretch

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c y x"]:
        """The rectangles, in one size."""
        height, width = images.shape[2:]
        shares = draws.double()
        area = 1 - (1 - self.area) * shares[:, 0]
        ratio = ((2 * shares[:, 1] - 1) * math.log1p(self.stretch)).exp()
        kept = torch.stack([(area / ratio).sqrt(), (area * ratio).sqrt()], dim=1).clamp(max=1)
        free = torch.stack([(1 - kept[:, 0]) * height, (1 - kept[:, 1]) * width], dim=1)
        to_height, to_width = self.side or height, self.side or width
        linear = torch.zeros(len(images), 2, 2, dtype=torch.float64, device=images.device)
        linear[:, 0, 0], linear[:, 1, 1] = kept[:, 0] * (height / to_height), kept[:, 1] * (width / to_width)
        return warp(images, linear, (shares[:, 2:] - 0.5) * free, to_height, to_width, outside="border")

    def still(self, images: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c y x"]:
        """The largest squares in the middle, in the size wanted, by the means of areas."""
        if not self.side:
            return images
        height, width = images.shape[2:]
        whole = min(height, width)
        top, left = (height - whole) // 2, (width - whole) // 2
        squares = images[..., top : top + whole, left : left + whole]
        parts = [
            to_bytes(interpolate(part.float(), (self.side, self.side), mode="bilinear", antialias=True))
            for part in squares.split(256)  # or the memory would not do for all test images
        ]
        return torch.cat(parts)


@augmentations.register("flip")
class Flip(Augmentation):
    """Mirror some images, left to right.

    Args:
        share: How many of them.
    """

    num_draws = 1

    def __init__(self, *, share: Share = 0.5) -> None:
        self.share = share

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The images, some of them mirrored."""
        return torch.where(rearrange(draws < self.share, "b 1 -> b 1 1 1"), images.flip(3), images)


@augmentations.register("erase")
class Erase(Augmentation):
    """Blacken a square of some images, at a random place that lies inside (DeVries and Taylor, 2017).

    Args:
        side: Height and width of the square.
        share: How many images.
    """

    num_draws = 3

    def __init__(self, *, side: Count = 4, share: Share = 1.0) -> None:
        self.side, self.share = side, share

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The images, some of them with a black square.

        Raises:
            UserError: the square is larger than the images.
        """
        height, width = images.shape[2:]
        if self.side > min(height, width):
            raise UserError(f"Augmentation erase: side {self.side} is more than images have: {height}x{width} pixels.")
        top = (draws[:, 1] * (height - self.side + 1)).long()
        left = (draws[:, 2] * (width - self.side + 1)).long()
        return blacken(images, top, left, self.side, draws[:, 0] < self.share)


def blacken(
    images: UInt8[Tensor, "b c h w"],
    top: Int64[Tensor, " b"],
    left: Int64[Tensor, " b"],
    side: int,
    which: Bool[Tensor, " b"],
) -> UInt8[Tensor, "b c h w"]:
    """Images with a black square, its upper left corner given for each; only those that are named."""
    within: list[Bool[Tensor, "b n"]] = []
    for first, length in ((top, images.shape[2]), (left, images.shape[3])):
        distance = torch.arange(length, device=images.device) - rearrange(first, "b -> b 1")
        within.append((distance >= 0) & (distance < side))
    square = rearrange(within[0], "b h -> b 1 h 1") & rearrange(within[1], "b w -> b 1 1 w")
    return images.masked_fill(square & rearrange(which, "b -> b 1 1 1"), 0)
