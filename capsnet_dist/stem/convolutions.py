"""A stem of several plain convolutions (Costa et al., 2021: Q7-CapsNets, section 4)."""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.geometry import convolved
from capsnet_dist.plugins import Image, Stem, stems
from capsnet_dist.ranges import Counts


@stems.register("convolutions")
class ConvolutionsStem(Stem):
    """Convolutions without padding, each followed by a ReLU; the defaults are those of Q7-CapsNets for CIFAR-10.

    Args:
        image: Channels, height and width of an image.
        channels: Channels of each convolution.
        kernels: Side of each kernel, in pixels.
        strides: Step of each kernel, in pixels.

    Raises:
        UserError: the image is too small, or channels, kernels and strides are not equally many.
    """

    def __init__(
        self,
        image: Image,
        *,
        channels: Counts = (32, 32, 64, 64),
        kernels: Counts = (3, 3, 3, 3),
        strides: Counts = (1, 1, 2, 2),
    ) -> None:
        super().__init__(convolved(image, channels, kernels, strides))
        sizes = zip(pairwise((image[0], *channels)), kernels, strides, strict=True)
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, kernel, stride) for pair, kernel, stride in sizes)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        maps = images
        for convolution in self.convolutions:
            maps = convolution(maps).relu()
        return maps
