"""The plain stem: one convolution (Sabour et al., 2017, section 4: Conv1)."""

from jaxtyping import Float
from torch import Tensor

from capsnet_dist.geometry import output_side
from capsnet_dist.kernels import FastConv2d
from capsnet_dist.plugins import Image, Stem, stems
from capsnet_dist.ranges import Count, Natural


@stems.register("convolution")
class ConvolutionStem(Stem):
    """One convolution and a ReLU (Sabour et al., 2017, section 4: Conv1).

    Args:
        image: Channels, height and width of an image.
        channels: Channels of the feature maps.
        kernel: Side of the kernel, in pixels.
        stride: Step of the kernel, in pixels.
        padding: Rows and columns of zeros around the image.

    Raises:
        UserError: the image is smaller than the kernel.
    """

    def __init__(
        self, image: Image, *, channels: Count = 256, kernel: Count = 9, stride: Count = 1, padding: Natural = 0
    ) -> None:
        inputs, *sides = image
        height, width = (output_side(side, kernel, stride, padding) for side in sides)
        super().__init__((channels, height, width))
        self.conv = FastConv2d(inputs, channels, kernel, stride, padding, rectify=True)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        return self.conv(images)
