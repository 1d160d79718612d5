"""A stem that standardizes pixels first: part of networks that were trained so."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Image, Stem, stems
from capsnet_dist.ranges import Positives, Shares
from capsnet_dist.registry import Choice


@stems.register("standardized")
class StandardizedStem(Stem):
    """Pixels less a mean, over a deviation, before another stem; zeros around maps are then the mean.

    Args:
        image: Channels, height and width of an image.
        mean: What is subtracted from the pixels in [0, 1]: a number for each channel, or one for all.
        std: What they are divided by then: a number for each channel, or one for all.
        stem: What makes the feature maps.

    Raises:
        UserError: there are neither one number nor as many as channels.
    """

    mean: Float[Tensor, "c 1 1"]
    """What is subtracted."""
    std: Float[Tensor, "c 1 1"]
    """What is divided by."""

    def __init__(
        self,
        image: Image,
        *,
        mean: Shares = (0.5,),
        std: Positives = (0.5,),
        stem: Choice[Stem] = stems("resnet"),
    ) -> None:
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, image[0]):
                raise UserError(f"{name} {' '.join(map(str, values))}: give one number, or one for each of {image[0]}.")
        built = stem.build(image)
        super().__init__(built.maps)
        self.stem = built
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, rearrange(torch.tensor(values), "c -> c 1 1"), persistent=False)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        return self.stem((images - self.mean) / self.std)
