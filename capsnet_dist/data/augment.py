"""Augmentations: random changes to a whole batch at once, on its device."""

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from capsnet_dist.plugins import augmentations
from capsnet_dist.ranges import Natural


@augmentations.register("none")
class NoAugmentation:
    """The images as they are."""

    num_draws = 0

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The same images."""
        return images


@augmentations.register("shift")
class Shift:
    """Shift each image by whole pixels, zeros coming in (Sabour et al., 2017, section 5).

    Args:
        pixels: Largest shift in each direction; all shifts up to it are equally likely.
    """

    num_draws = 2

    def __init__(self, *, pixels: Natural = 2) -> None:
        self.pixels = pixels

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The shifted images."""
        batch, _, height, width = images.shape
        corner = (draws * (2 * self.pixels + 1)).long()
        rows = corner[:, :1] + torch.arange(height, device=images.device)
        columns = corner[:, 1:] + torch.arange(width, device=images.device)
        sample = torch.arange(batch, device=images.device)
        padded = rearrange(pad(images, [self.pixels] * 4), "b c h w -> b h w c")
        shifted = padded[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
        return rearrange(shifted, "b h w c -> b c h w")
