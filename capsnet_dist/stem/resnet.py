"""Residual stems (He et al., 2016, section 4.2)."""

import itertools
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.geometry import output_side
from capsnet_dist.plugins import Image, Stem, stems
from capsnet_dist.ranges import Counts


@stems.register("resnet")
class ResNetStem(Stem):
    """A residual network for small images, without its classifier (He et al., 2016, section 4.2).

    The defaults are ResNet-20: a convolution, then three stages of three blocks, of which the second and the third
    halve the map. Blocks of 5, 7, 9 and 18 give ResNet-32, 44, 56 and 110.

    Args:
        image: Channels, height and width of an image.
        widths: Channels of each stage; the first convolution has those of the first.
        blocks: Residual blocks of each stage.
        shortcut: How a block that changes the channels passes its input on. "pad": as it is, with channels of zeros on
            both sides (their option A). "project": through a 1 x 1 convolution, normalised (option B).

    Raises:
        UserError: not as many widths as blocks, a stage without blocks, or "pad" with channels that do not grow by an
            even number.
    """

    def __init__(
        self,
        image: Image,
        *,
        widths: Counts = (16, 32, 64),
        blocks: Counts = (3, 3, 3),
        shortcut: Literal["pad", "project"] = "pad",
    ) -> None:
        if not widths or len(widths) != len(blocks) or min(blocks) < 1:
            raise UserError(f"widths={widths}, blocks={blocks}: each stage needs a width and at least one block.")
        channels, height, width = image
        for _ in widths[1:]:
            height, width = output_side(height, 3, 2, 1), output_side(width, 3, 2, 1)
        super().__init__((widths[-1], height, width))
        self.conv = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.blocks = nn.Sequential()
        for (below, above), repeats in zip(itertools.pairwise((widths[0], *widths)), blocks, strict=True):
            stride = 2 if len(self.blocks) else 1
            self.blocks.append(ResidualBlock(below, above, stride, shortcut))
            self.blocks.extend(ResidualBlock(above, above, 1, shortcut) for _ in range(repeats - 1))

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        return self.blocks(self.norm(self.conv(images)).relu())


class ResidualBlock(nn.Module):
    """Two convolutions, to whose result the input is added (He et al., 2016, figure 2).

    Args:
        inputs: Channels of the maps below.
        channels: Channels of the maps it gives.
        stride: Step of the first convolution.
        shortcut: How the input is passed on where channels or stride change; see `ResNetStem`.

    Raises:
        UserError: "pad" with channels that do not grow by an even number.
    """

    def __init__(self, inputs: int, channels: int, stride: int, shortcut: Literal["pad", "project"]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != channels:
            self.shortcut = (
                _Padding(inputs, channels, stride) if shortcut == "pad" else _Projection(inputs, channels, stride)
            )

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""
        residual = self.norm1(self.conv1(maps)).relu()
        residual = self.norm2(self.conv2(residual))
        return (residual + self.shortcut(maps)).relu()


class _Padding(nn.Module):
    """Every other pixel, with channels of zeros on both sides."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        added = channels - inputs
        if added < 0 or added % 2:
            raise UserError(f"From {inputs} to {channels} channels: padding adds an even number. Choose 'project'.")
        self.stride, self.each = stride, added // 2

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        every_other = maps[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(every_other, (0, 0, 0, 0, self.each, self.each))


class _Projection(nn.Sequential):
    """A 1 x 1 convolution, normalised."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__(nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
