"""A convolution for large kernels: `nn.Conv2d` in all but speed."""

from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.kernels import backends
from capsnet_dist.kernels.convolution import narrow, panels
from capsnet_dist.kernels.convolution.function import Transformed, convolve, transform_weight
from capsnet_dist.kernels.convolution.patches import rectified_product
from capsnet_dist.kernels.convolution.tiling import Convolution, Tiling, cheapest
from capsnet_dist.kernels.switch import fast_paths_allowed

SHORTEST = 5  # sides of kernels that have kernels in Triton: a 3 x 3 convolution is the library's own field
NARROW = 128  # numbers under a kernel, up to which patches are multiplied
FEWEST_OUTPUTS = 2**23  # 32 MB: where the library's convolution took a third longer than a matrix product on patches
FEW_POSITIONS = 72  # of all samples, up to which patches are multiplied by a large weight where nothing is trained:
LARGE_WEIGHT = 3 * 2**18  # 3 MB, beyond the second cache; the library's convolution brings it into another order first


class FastConv2d(nn.Conv2d):
    """A convolution by the bilinear algorithm where that is cheaper: `capsnet_dist.kernels.convolution.transforms`.

    Its weights are those of `nn.Conv2d`, and they load from one to the other. Outputs and gradients differ by rounding
    only. Autocast, other types than float32 and float64, groups and dilation take the library's convolution.

    Args:
        in_channels: Channels before.
        out_channels: Channels after.
        kernel_size: Side of the kernel, or rows and columns.
        stride: Its step.
        padding: Rows and columns of zeros around the maps.
        dilation: Step between its taps.
        groups: Groups of channels that do not mix.
        bias: Whether a number is added to each channel.
        algorithm: "auto": by the sizes alone, what costs least, only on CPU. "direct": the library's. "bilinear": an
            error like the library's. "bilinear_loose": fewer products, up to five times the error.
        rectify: Whether a ReLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        algorithm: Convolution = "auto",
        rectify: bool = False,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.algorithm: Convolution = algorithm
        self.rectify = rectify

    def forward(self, input: Float[Tensor, "*b c h w"]) -> Float[Tensor, "*b n y x"]:
        """The convolution; what is not the library's has positions before samples and channels in memory."""
        if (half := self._half(input)) is not None:
            from capsnet_dist.kernels.convolution import triton

            return triton.convolve(input, self.weight, self._bias, int(self.stride[0]), self.rectify, half)
        tiling = self._tiling(input) if self._applies(input) else None
        if tiling is None and self._patches_pay(input):
            return self._on_patches(input)
        if tiling is None:
            maps = super().forward(input)
        else:
            maps = convolve(input, self.weight, self._bias, tiling, _transformed(self, input, tiling))
        return maps.relu() if self.rectify else maps

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{super().extra_repr()}, algorithm={self.algorithm}, rectify={self.rectify}"

    @property
    def _bias(self) -> Float[Tensor, " n"]:
        return self.weight.new_zeros(self.out_channels) if self.bias is None else self.bias

    def _half(self, maps: Tensor) -> torch.dtype | None:
        """The 16-bit type of the factors, where there are kernels for such a convolution."""
        (rows, columns), padding = self.kernel_size, tuple(map(int, self.padding))
        if (
            self.algorithm != "auto"
            or not fast_paths_allowed()
            or not backends.fits_triton(maps)
            or (maps.is_cuda and torch.cuda.get_device_capability(maps.device) < (8, 0))
            or maps.ndim != 4
            or maps.shape[1] != self.in_channels
            or not (SHORTEST <= rows <= maps.shape[2] and SHORTEST <= columns <= maps.shape[3])
            or (self.groups, self.dilation, padding, self.stride[0]) != (1, (1, 1), (0, 0), self.stride[1])
            or self.out_channels % 16 != 0
        ):
            return None
        narrow = self.in_channels * rows * columns <= NARROW
        if maps.requires_grad if narrow else self.in_channels % 16 != 0:
            return None
        mixed = torch.is_autocast_enabled(maps.device.type)
        dtype = torch.get_autocast_dtype(maps.device.type) if mixed else maps.dtype
        same = mixed or maps.dtype == self.weight.dtype
        return dtype if same and dtype in (torch.bfloat16, torch.float16) else None

    def _applies(self, maps: Tensor) -> bool:
        """Whether all but the sizes is as the bilinear algorithm needs it; what is wrong is left to the library."""
        return (
            self.algorithm != "direct"
            and fast_paths_allowed()
            and (maps.device.type == "cpu" or (self.algorithm != "auto" and not maps.is_meta))
            and maps.ndim == 4
            and maps.shape[1] == self.in_channels
            and maps.dtype == self.weight.dtype
            and maps.dtype in (torch.float32, torch.float64)
            and self.groups == 1
            and self.dilation == (1, 1)
            and not torch.is_autocast_enabled(maps.device.type)
        )

    def _tiling(self, maps: Float[Tensor, "b c h w"]) -> Tiling | None:
        padding = [int(zeros) for zeros in self.padding]
        rows, columns = zip(self.kernel_size, self.stride, padding, maps.shape[2:], strict=True)
        channels, in_panels = (self.in_channels, self.out_channels), panels.fits(maps, self.weight)
        return cheapest(rows, columns, len(maps), channels, self.algorithm, in_panels=in_panels)

    def _patches_pay(self, maps: Tensor) -> bool:
        """Whether one matrix product is faster: for the first convolution of many images, and any large one of few."""
        if self.algorithm != "auto" or not self._applies(maps):
            return False
        sides = zip(maps.shape[2:], self.kernel_size, self.stride, self.padding, strict=True)
        outputs = [(side + 2 * int(pad) - kernel) // stride + 1 for side, kernel, stride, pad in sides]
        if min(outputs) <= 0:
            return False
        positions, patch = len(maps) * outputs[0] * outputs[1], self.weight[0].numel()
        if not maps.requires_grad and patch <= self.out_channels:
            return positions * self.out_channels >= FEWEST_OUTPUTS
        return not torch.is_grad_enabled() and positions <= FEW_POSITIONS and self.weight.numel() >= LARGE_WEIGHT

    def _on_patches(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n y x"]:
        """The convolution straight from the images where numba has tiles for it, else as one matrix product.

        Its positions are before samples and channels, as those of the bilinear one are.
        """
        if self.rectify and narrow.fits(maps, self.weight):
            (down, right), (top, left) = self.stride, map(int, self.padding)
            return narrow.rectified_convolution(maps, self.weight, self._bias, (down, right), (top, left))
        (top, left), (height, width), (stride, step) = map(int, self.padding), self.kernel_size, self.stride
        first = rearrange(nn.functional.pad(maps, (left, left, top, top)), "b c h w -> h w b c")
        windows = rearrange(first.unfold(0, height, stride).unfold(1, width, step), "y x b c k l -> y x b (c k l)")
        weight, multiply = rearrange(self.weight, "n c k l -> n (c k l)"), nn.functional.linear
        if self.rectify:
            multiply = rectified_product
        found = multiply(rearrange(windows, "y x b k -> (y x b) k"), weight, self.bias)
        return rearrange(found, "(y x b) n -> b n y x", y=windows.shape[0], x=windows.shape[1])


class _Kept(NamedTuple):
    """A weight, what it was transformed for, and the result."""

    weight: Tensor
    use: tuple[Tiling, torch.dtype, bool]
    transformed: Transformed


_kept: WeakKeyDictionary[FastConv2d, _Kept] = WeakKeyDictionary()


def _transformed(convolution: FastConv2d, maps: Tensor, tiling: Tiling) -> Transformed | None:
    """The transformed weight, kept from call to call while no gradients are recorded and the weight stays the same.

    The weight is compared by value: a version counter misses what is written through `weight.data`.
    """
    if torch.is_grad_enabled():
        _kept.clear()
        return None
    kept, weight = _kept.get(convolution), convolution.weight
    use = tiling, weight.dtype, panels.fits(maps, weight)
    if kept is None or kept.use != use or not _same(kept.weight, weight):
        kept = _kept[convolution] = _Kept(weight.clone(), use, transform_weight(maps, weight, tiling))
    return kept.transformed


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two weights of a type have the same bits, which NumPy finds in half of the time of `torch.equal`."""
    if first.device.type != "cpu" or second.device.type != "cpu":
        return torch.equal(first, second)
    kind = f"i{first.itemsize}"
    return np.array_equal(first.detach().numpy().view(kind), second.detach().numpy().view(kind))
