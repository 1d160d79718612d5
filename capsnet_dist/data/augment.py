"""Augmentations: random changes to a whole batch at once, on its device. The simplest ones, and chains of any."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import pad

from capsnet_dist.data.resample import pick, window
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.ranges import Natural
from capsnet_dist.registry import Choice


@augmentations.register("none")
class NoAugmentation(Augmentation):
    """The images as they are."""

    num_draws = 0

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The same images."""
        return images


@augmentations.register("shift")
class Shift(Augmentation):
    """Shift each image by whole pixels, zeros coming in (Sabour et al., 2017, section 5).

    Args:
        pixels: Largest shift in each direction; all shifts up to it are equally likely.
    """

    num_draws = 2

    def __init__(self, *, pixels: Natural = 2) -> None:
        self.pixels = pixels

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c h w"]:
        """The shifted images."""
        height, width = images.shape[2:]
        top, left = (draws * (2 * self.pixels + 1)).long().unbind(1)
        return pick(pad(images, [self.pixels] * 4), window(top, height), window(left, width))


SHIFT = (augmentations("shift"),)


@augmentations.register("chain")
class Chain(Augmentation):
    """Several augmentations, one after another.

    `--augmentation.parts crop flip` names them, and `--augmentation.parts.0.padding 4` sets an option of one.

    Args:
        parts: The augmentations, by name, in their order.

    Raises:
        UserError: there are none, or several that mix samples.
    """

    def __init__(self, *, parts: tuple[Choice[Augmentation], ...] = SHIFT) -> None:
        if not parts:
            raise UserError("A chain needs at least one augmentation: --augmentation.parts shift.")
        self.parts = [part.build() for part in parts]
        self.num_draws = sum(part.num_draws for part in self.parts)
        mixing = [choice.name for choice, part in zip(parts, self.parts, strict=True) if part.mixes]
        if len(mixing) > 1:
            raise UserError(f"A chain can mix samples but once: {' and '.join(mixing)} do. Leave one of them out.")
        self.mixes = bool(mixing)

    def __call__(self, images: UInt8[Tensor, "b c h w"], draws: Float[Tensor, "b k"]) -> UInt8[Tensor, "b c y x"]:
        """The images, changed by each of the parts."""
        for part, own in zip(self.parts, self._shared_out(draws), strict=True):
            images = part(images, own)
        return images

    def mix(
        self,
        images: UInt8[Tensor, "b c h w"],
        others: UInt8[Tensor, "b c h w"],
        draws: Float[Tensor, "b k"],
        other_draws: Float[Tensor, "b k"],
    ) -> tuple[UInt8[Tensor, "b c y x"], Float[Tensor, " b"]]:
        """Both images as the first parts change them, mixed; what becomes of the mixture is up to its own draws."""
        share = torch.ones_like(draws[:, 0])
        for part, own, other in zip(self.parts, self._shared_out(draws), self._shared_out(other_draws), strict=True):
            if part.mixes:
                images, share = part.mix(images, others, own, other)
            else:
                images, others = part(images, own), part(others, other)
        return images, share

    def _shared_out(self, draws: Float[Tensor, "b k"]) -> tuple[Float[Tensor, "b m"], ...]:
        """The draws of each part."""
        return draws.split([part.num_draws for part in self.parts], dim=1)

    def still(self, images: UInt8[Tensor, "b c h w"]) -> UInt8[Tensor, "b c y x"]:
        """What evaluation sees of images: as each of the parts has it."""
        for part in self.parts:
            images = part.still(images)
        return images

    def views(self, images: UInt8[Tensor, "b c h w"]) -> "list[UInt8[Tensor, 'b c y x']]":
        """Every view of each part on every view of those before."""
        seen = [images]
        for part in self.parts:
            seen = [view for given in seen for view in part.views(given)]
        return seen

    def members(self) -> list[Augmentation]:
        """This one, and those that it is made of."""
        return [self, *(member for part in self.parts for member in part.members())]
