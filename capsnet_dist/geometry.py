"""Windows that slide over a map: how many there are, and what each of them sees."""

from collections.abc import Sequence

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.errors import UserError


def output_side(side: int, kernel: int, stride: int, padding: int = 0) -> int:
    """Number of windows along one side.

    Raises:
        UserError: the side is shorter than the kernel.
    """
    free = side + 2 * padding - kernel
    if free < 0:
        raise UserError(f"A map of {side} positions is too small for a kernel of {kernel} (padding {padding}).")
    return free // stride + 1


def require_maps(image: tuple[int, int, int], maps: tuple[int, int, int], *windows: tuple[int, int]) -> None:
    """Refuse images whose maps have no room for windows that stand one upon another.

    Args:
        image: Channels, height and width of an image.
        maps: Those of the maps under the lowest window.
        windows: Kernel and stride of each, from the lowest on.

    Raises:
        UserError: too small an image, with the sizes.
    """
    smallest = 1
    for kernel, stride in reversed(windows):
        smallest = (smallest - 1) * stride + kernel
    if min(maps[1:]) < smallest:
        sizes = ", ".join(str(kernel) for kernel, _ in windows)
        what = "are" if maps == image else f"give maps of {maps[1]}x{maps[2]},"
        raise UserError(
            f"Images of {image[1]}x{image[2]} pixels {what} too small for kernels of {sizes}: at least "
            f"{smallest}x{smallest}. Use larger images, or smaller kernels or strides."
        )


def convolved(
    image: tuple[int, int, int], channels: Sequence[int], kernels: Sequence[int], strides: Sequence[int]
) -> tuple[int, int, int]:
    """Channels, height and width of the maps that convolutions without padding make, one upon another.

    Args:
        image: Channels, height and width of an image.
        channels: Channels of each convolution.
        kernels: Side of each kernel.
        strides: Step of each kernel.

    Raises:
        UserError: the image is too small, or channels, kernels and strides are not equally many.
    """
    if not 0 < len(channels) == len(kernels) == len(strides):
        raise UserError(f"channels {channels}, kernels {kernels} and strides {strides} must be equally many.")
    require_maps(image, image, *zip(kernels, strides, strict=True))
    _, height, width = image
    for kernel, stride in zip(kernels, strides, strict=True):
        height, width = output_side(height, kernel, stride), output_side(width, kernel, stride)
    return channels[-1], height, width


class Windows(nn.Module):
    """The receptive fields of convolutional capsules: what each window sees, and who competes for a part.

    Args:
        grid: The capsules below.
        kernel: Side of a window, in positions.
        stride: Step between windows, in positions.
        padding: Rows and columns of absent capsules (pose and activation zero) around the map.

    Raises:
        UserError: the map is too small for the window.
    """

    index: Int64[Tensor, "o i"]
    """The part that stands at each place of each window, or their number where there is none."""

    def __init__(self, grid: Grid, kernel: int, stride: int, padding: int) -> None:
        super().__init__()
        self.num_parts = grid.num_capsules
        self.height = output_side(grid.height, kernel, stride, padding)
        self.width = output_side(grid.width, kernel, stride, padding)
        self.num_windows = self.height * self.width
        parts = rearrange(torch.arange(grid.num_capsules), "(t h w) -> t h w", t=grid.types, h=grid.height)
        padded = nn.functional.pad(parts, [padding] * 4, value=grid.num_capsules)
        fields = padded.unfold(1, kernel, stride).unfold(2, kernel, stride)
        self.register_buffer("index", rearrange(fields, "t y x h w -> (y x) (t h w)").contiguous(), persistent=False)

    def cut(self, capsules: Capsules) -> Capsules:
        """The parts that each window sees; windows join the batch axis: "b n p" becomes "(b o) i p"."""
        absent = Capsules(capsules.poses.new_zeros(1, 1, 1), capsules.activations.new_zeros(1, 1))
        batch, parts, dim = capsules.poses.shape
        assert parts == self.num_parts, f"windows over {self.num_parts} capsules were given {parts}"
        poses = torch.cat([capsules.poses, absent.poses.expand(batch, 1, dim)], dim=1)
        activations = torch.cat([capsules.activations, absent.activations.expand(batch, 1)], dim=1)
        return Capsules(
            rearrange(poses[:, self.index], "b o i p -> (b o) i p"),
            rearrange(activations[:, self.index], "b o i -> (b o) i"),
        )

    def join(self, capsules: Capsules) -> Capsules:
        """The wholes of all windows as one grid: "(b o) j d" becomes "b (j o) d"."""
        return Capsules(
            rearrange(capsules.poses, "(b o) j d -> b (j o) d", o=self.num_windows),
            rearrange(capsules.activations, "(b o) j -> b (j o)", o=self.num_windows),
        )

    def split(self, capsules: Capsules) -> Capsules:
        """The wholes of each window from those of the grid, the inverse of `join`."""
        return Capsules(
            rearrange(capsules.poses, "b (j o) d -> (b o) j d", o=self.num_windows),
            rearrange(capsules.activations, "b (j o) -> (b o) j", o=self.num_windows),
        )

    def compete(self, logits: Float[Tensor, "bo i j"]) -> Float[Tensor, "bo i j"]:
        """Softmax over all wholes that see a part, in whichever window they are (Hinton et al., 2018, procedure 1)."""
        logits = rearrange(logits, "(b o) i j -> b (o i) j", o=self.num_windows)
        part = rearrange(self.index, "o i -> (o i)")
        largest = logits.detach().amax(dim=-1)
        peak = largest.new_full((largest.shape[0], self.num_parts + 1), -torch.inf)
        peak = peak.scatter_reduce(1, repeat(part, "n -> b n", b=largest.shape[0]), largest, "amax")
        weight = (logits - peak[:, part][..., None]).exp()
        total = torch.zeros_like(peak).index_add(1, part, weight.sum(dim=-1))
        return rearrange(weight / total[:, part][..., None], "b (o i) j -> (b o) i j", o=self.num_windows)
