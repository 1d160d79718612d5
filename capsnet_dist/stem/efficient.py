"""Four convolutions, each normalized after its nonlinearity (Mazzia et al., 2021: Efficient-CapsNet, figure 2)."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.geometry import convolved
from capsnet_dist.plugins import Image, Stem, stems
from capsnet_dist.ranges import Counts, Share


@stems.register("efficient")
class EfficientStem(Stem):
    """Convolutions without padding, each normalized after its nonlinearity (Mazzia et al., 2021: Efficient-CapsNet).

    The defaults are those for MNIST. For MultiMNIST: strides 1 1 2 2. For smallNORB: kernels 7 3 3 3, strides 2 1 1 2
    and normalization instance.

    Args:
        image: Channels, height and width of an image.
        channels: Channels of each convolution.
        kernels: Side of each kernel, in pixels.
        strides: Step of each kernel, in pixels.
        normalization: "batch": ReLU, then over the batch. "instance": leaky ReLU, then each map of each image alone.
        momentum: Share of a new batch in the running statistics of "batch"; 0.01 as in Keras.

    Raises:
        UserError: the image is too small, or channels, kernels and strides are not equally many.
    """

    def __init__(
        self,
        image: Image,
        *,
        channels: Counts = (32, 64, 64, 128),
        kernels: Counts = (5, 3, 3, 3),
        strides: Counts = (1, 1, 1, 2),
        normalization: Literal["batch", "instance"] = "batch",
        momentum: Share = 0.01,
    ) -> None:
        maps = convolved(image, channels, kernels, strides)
        if normalization == "instance" and maps[1:] == (1, 1):
            raise UserError(
                f"Images of {image[1]}x{image[2]} pixels leave 1x1 maps: too small for instance normalization."
            )
        super().__init__(maps)
        steps: list[nn.Module] = []
        for before, after, kernel, stride in zip((image[0], *channels), channels, kernels, strides, strict=False):
            steps += [_convolution(before, after, kernel, stride), *_nonlinear(after, normalization, momentum)]
        self.steps = nn.Sequential(*steps)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        return self.steps(images)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(inputs, outputs, kernel, stride)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")  # he_normal in the authors' code
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _nonlinear(channels: int, normalization: Literal["batch", "instance"], momentum: float) -> list[nn.Module]:
    epsilon = 1e-3  # Keras' and TensorFlow Addons' default, which the authors keep
    if normalization == "batch":
        return [nn.ReLU(), nn.BatchNorm2d(channels, eps=epsilon, momentum=momentum)]
    return [nn.LeakyReLU(0.3), nn.InstanceNorm2d(channels, eps=epsilon, affine=True)]  # 0.3: Keras' default slope
