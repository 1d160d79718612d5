"""Filters of whole batches: blurs, and edges. Lengths are in pixels."""

import math

import torch
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, max_pool2d, pad

from capsnet_dist.robustness.chance import Chance

GREY = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
LOW, HIGH = 0.1, 0.2  # thresholds of canny, scikit-image's


def gaussian(images: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """Blurred by a Gaussian, cut after four sigma; beyond the border lies its nearest pixel."""
    reach = max(1, math.ceil(4 * sigma))
    places = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    weights = (-0.5 * (places / sigma).square()).exp()
    weights = weights / weights.sum()
    channels = images.shape[1]
    maps = pad(rearrange(images, "b c h w -> (b c) 1 h w"), [reach] * 4, mode="replicate")
    for pattern in ("k -> 1 1 k 1", "k -> 1 1 1 k"):
        maps = conv2d(maps, rearrange(weights, pattern))
    return rearrange(maps, "(b c) 1 h w -> b c h w", c=channels)


def motion(
    images: Float[Tensor, "b c h w"], angle: Float[Tensor, " b"], length: float, sigma: float
) -> Float[Tensor, "b c h w"]:
    """Blurred in one direction: a Gaussian falls off on one side, as ImageMagick's motion blur has it.

    Args:
        images: What is blurred.
        angle: Of each image, in radians.
        length: After which the Gaussian is cut.
        sigma: Its width.
    """
    height, width = images.shape[2:]
    unmoved = torch.eye(2, 3, device=images.device).expand(len(images), 2, 3)
    grid = torch.nn.functional.affine_grid(unmoved, list(images.shape), align_corners=False)
    step = torch.stack([2 * angle.cos() / width, 2 * angle.sin() / height], dim=1)
    weights = [math.exp(-0.5 * (place / sigma) ** 2) for place in range(max(2, round(length) + 1))]
    blurred = torch.zeros_like(images)
    for place, weight in enumerate(weights):
        moved = grid + place * rearrange(step, "b d -> b 1 1 d")
        blurred += weight / sum(weights) * grid_sample(images, moved, padding_mode="border", align_corners=False)
    return blurred


def shuffled(images: Float[Tensor, "b c h w"], chance: Chance, reach: int) -> Float[Tensor, "b c h w"]:
    """Each pixel with one chance in two that of a random neighbour, at most so many rows and columns away."""
    height, width = images.shape[2:]
    uniform = chance.uniform(3, height, width)
    shift = ((2 * reach + 1) * uniform[:, :2]).long() - reach
    down, right = (shift * (uniform[:, 2:] < 0.5)).unbind(1)
    rows = (rearrange(torch.arange(height, device=images.device), "h -> h 1") + down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right).clamp(0, width - 1)
    places = rearrange(rows * width + columns, "b h w -> b 1 (h w)").expand(-1, images.shape[1], -1)
    return rearrange(rearrange(images, "b c h w -> b c (h w)").gather(2, places), "b c (h w) -> b c h w", h=height)


def edges(images: Float[Tensor, "b c h w"], sigma: float) -> Float[Tensor, "b c h w"]:
    """1 where an edge is, else 0 (Canny, 1986): of colours those of their grey, else of each channel.

    Blurred by sigma, then Sobel's gradient, where it is largest along its direction, and above a threshold or joined
    to such a place.
    """
    seen = grey(images) if images.shape[1] == 3 else images
    maps = pad(rearrange(gaussian(seen, sigma), "b c h w -> (b c) 1 h w"), [1] * 4, mode="replicate")
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], device=images.device) / 4
    down, right = (conv2d(maps, rearrange(kernel, "y x -> 1 1 y x")) for kernel in (across.T, across))
    size = (down.square() + right.square()).sqrt()
    is_thin = _is_largest(size, down, right)
    strong, weak = is_thin & (size >= HIGH), is_thin & (size >= LOW)
    while (grown := (max_pool2d(strong.float(), 3, stride=1, padding=1) > 0) & weak).sum() > strong.sum():
        strong = grown
    found = rearrange(strong.to(images.dtype), "(b c) 1 h w -> b c h w", b=len(images))
    return found.expand_as(images)


def _is_largest(
    size: Float[Tensor, "n 1 h w"], down: Float[Tensor, "n 1 h w"], right: Float[Tensor, "n 1 h w"]
) -> Bool[Tensor, "n 1 h w"]:
    """Whether a gradient is no smaller than its neighbours in its direction, of four; the border has no edges."""
    sector = torch.atan2(down, right).div(math.pi / 4).round().long() % 4
    around = pad(size, [1] * 4)
    height, width = size.shape[2:]
    found = torch.zeros_like(sector, dtype=torch.bool)
    for number, (row, column) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        after, before = (around[:, :, 1 + way * row :, 1 + way * column :][:, :, :height, :width] for way in (1, -1))
        found |= (sector == number) & (size >= after) & (size > before)
    inner = torch.zeros_like(found)
    inner[:, :, 1:-1, 1:-1] = True
    return found & inner


def grey(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 1 h w"]:
    """How bright colours are."""
    weights = torch.tensor(GREY, device=images.device, dtype=images.dtype)
    return reduce(images * rearrange(weights, "c -> c 1 1"), "b c h w -> b 1 h w", "sum")
