"""What Pillow does to a picture before the network sees it, as operations of a graph: any size in, pixels out.

`capsnet_dist.images.fit.Fit` is what counts. Its resizing is a product with one matrix for the columns and one for the
rows, whose entries follow from the size of the picture; Pillow's steps for much larger pictures, which first average
whole pixels, are entries of the same matrices. So pixels differ by rounding: by no more than a shade where nothing is
averaged first, and by two at most else.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import MODES, REDUCING_GAP, Fit
from capsnet_dist.plugins import Image, Model, without_images

LUMA = 19595.0, 38470.0, 7471.0  # of 65536: Pillow's weights of red, green and blue
SUPPORT = 0.5  # of a reduced pixel, that Pillow keeps around what it resizes


class Preparation(nn.Module):
    """RGB pictures to the pixels that a network takes.

    Args:
        image: Channels, height and width of what the network was trained with, before it was cut.
        fit: How pictures became pixels; None where that is not known, and they are stretched.

    Raises:
        UserError: a network of so many channels takes no pictures.
    """

    def __init__(self, image: Image, fit: Fit | None) -> None:
        super().__init__()
        self.channels, *self.sides = image if fit is None else fit.image
        if self.channels not in MODES:
            raise UserError(
                f"--pictures: the network takes {self.channels} channels, and a picture has 3, or 1 of gray."
            )
        self.policy = "stretch" if fit is None else fit.policy
        self.gap = float("inf") if fit is None else REDUCING_GAP
        self.background = 0 if fit is None else fit.background

    def forward(self, pictures: UInt8[Tensor, "b y x 3"]) -> UInt8[Tensor, "b c h w"]:
        """Shades from 0 to 255, as augmentations take them."""
        shades = rearrange(pictures.float(), "b y x c -> b c y x")
        if self.channels == 1:
            shades = torch.floor((shades * _column(LUMA)).sum(dim=1, keepdim=True).add(2**15) / 2**16)
        down, across = (_length(pictures, axis) for axis in (1, 2))
        rows, columns = (
            self._placed(side, n, torch.maximum(down, across), torch.minimum(down, across))
            for side, n in zip(self.sides, (down, across), strict=True)
        )
        is_reduced = (rows.factor > 1) | (columns.factor > 1)
        y, x = (torch.arange(pictures.shape[axis], dtype=torch.float64) for axis in (1, 2))
        by_row, by_column = _matrix(rows, is_reduced, y), _matrix(columns, is_reduced, x)
        narrow = _rounded(shades @ by_column.mT)
        return (_rounded(by_row @ narrow) + self.background * (1 - _inside(rows, columns))).byte()

    def _placed(self, side: int, length: Tensor, longer: Tensor, shorter: Tensor) -> "Axis":
        """Where the pixels of an axis come from."""
        taken, made = length, torch.full_like(length, side)
        if self.policy == "crop":
            taken = shorter
        elif self.policy == "pad":
            made = torch.round(side / longer * length).clamp(min=1)
        factor = torch.floor(taken / made / self.gap).clamp(min=1)
        first = torch.floor((side - made) / 2)
        return Axis(side, length, (length - taken) / 2, taken / made, made, first, factor)


class Axis(NamedTuple):
    """How the pixels of rows, or of columns, are made; scalars in float64."""

    side: int
    """How many the image has."""
    length: Tensor
    """How many the picture has."""
    start: Tensor
    """Where in it the first begins."""
    scale: Tensor
    """How many of it make one."""
    made: Tensor
    """How many are made, the rest being background."""
    first: Tensor
    """Which one of the image is the first of these."""
    factor: Tensor
    """How many are averaged first."""


def _matrix(axis: Axis, is_reduced: Tensor, place: Float[Tensor, " y"]) -> Float[Tensor, "h y"]:
    """Weights of the picture's pixels in each pixel of the image: a triangle, and none where there is background."""
    support, end = SUPPORT * axis.scale, axis.start + axis.made * axis.scale
    low = torch.where(is_reduced, torch.trunc(axis.start - support).clamp(min=0), torch.zeros_like(support))
    high = torch.where(is_reduced, torch.minimum(torch.ceil(end + support), axis.length), axis.length)
    cell = torch.floor((place - low) / axis.factor)
    number = torch.minimum(axis.factor, high - low - cell * axis.factor)  # the last cell may be smaller
    number = torch.where((place >= low) & (place < high), number, torch.full_like(number, float("inf")))
    scale = axis.scale / axis.factor
    made = torch.arange(axis.side, dtype=torch.float64) - axis.first
    centre = (axis.start - low) / axis.factor + (made + 0.5) * scale
    distance = (rearrange(cell, "y -> 1 y") + 0.5 - rearrange(centre, "h -> h 1")).abs()
    weight = (1 - distance / scale.clamp(min=1)).clamp(min=0) / rearrange(number, "y -> 1 y")
    is_made = rearrange((made >= 0) & (made < axis.made), "h -> h 1")
    return torch.where(is_made, weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-12), 0.0).float()


def _inside(rows: Axis, columns: Axis) -> Float[Tensor, "h w"]:
    """1 where the image shows the picture."""
    shown = [
        (place >= axis.first) & (place < axis.first + axis.made)
        for axis in (rows, columns)
        for place in [torch.arange(axis.side, dtype=torch.float64)]
    ]
    return (rearrange(shown[0], "h -> h 1") & rearrange(shown[1], "w -> 1 w")).float()


def _rounded(shades: Tensor) -> Tensor:
    return torch.floor(shades + 0.5).clamp(0, 255)


def _column(numbers: Sequence[float]) -> Tensor:
    return rearrange(torch.tensor(numbers), "c -> c 1 1")


def _length(pictures: Tensor, axis: int) -> Tensor:
    """The length of an axis as a number of the graph, which must not depend on that of the example."""
    return torch.ones(pictures.shape[axis], dtype=torch.float64).sum()


class PictureEncoder(nn.Module):
    """RGB pictures to scores and poses: as `predict`, scores are the mean over all views.

    Args:
        model: The network.
        views: What it sees of an image, the first of which the poses are of.
    """

    def __init__(self, model: Model, views: Callable[[Tensor], Sequence[Tensor]]) -> None:
        super().__init__()
        self.model, self.views = model, views
        self.preparation = Preparation(model.image, model.fit)

    def forward(self, pictures: UInt8[Tensor, "b y x 3"]) -> dict[str, Tensor]:
        """The scores "b j" and the poses "b j d"."""
        with without_images():
            outputs = [self.model(view.float() / 255) for view in self.views(self.preparation(pictures))]
        return {"scores": torch.stack([output.scores for output in outputs]).mean(dim=0), "poses": outputs[0].poses}
