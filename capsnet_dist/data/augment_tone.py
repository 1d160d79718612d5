"""Augmentations of shades."""

from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from capsnet_dist.data.resample import to_bytes
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.ranges import Amount, Fraction


@augmentations.register("brightness_contrast")
class BrightnessContrast(Augmentation):
    """Change brightness, and contrast about the mean of each channel (Sabour et al., 2017, for CIFAR-10 and smallNORB).

    All amounts up to the largest are equally likely, and all channels of an image change alike. Shades beyond black and
    white become these.

    Args:
        brightness: Largest change of all shades, of 255.
        contrast: How much the distance from the mean grows or shrinks at most: 0.8 is from 0.2 to 1.8 times.
    """

    num_draws = 2

    def __init__(self, *, brightness: Amount = 63.0, contrast: Fraction = 0.8) -> None:
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The changed images."""
        drawn = 2 * rearrange(draws.float(), "b k -> k b 1 1 1") - 1
        # A sum of whole numbers is the same in any order, so in any batch and on any device
        mean = images.sum(dim=(2, 3), keepdim=True).float() / (images.shape[2] * images.shape[3])
        changed = (images - mean) * (1 + self.contrast * drawn[1]) + mean + self.brightness * drawn[0]
        return to_bytes(changed)
