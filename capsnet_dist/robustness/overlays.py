"""What is laid over whole batches: fog, spatter and lines. Lengths are in pixels of MNIST's 28, times `unit`."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from capsnet_dist.robustness.chance import Chance
from capsnet_dist.robustness.filters import gaussian

MAP = 256  # pixels of the fractal of which MNIST-C's fog is a corner
MUD = 63 / 255
THICK = 2.3  # pixels from the middle of a line to where it ends


def fog(
    images: Float[Tensor, "b c h w"], chance: Chance, amount: float, decay: float, unit: float
) -> Float[Tensor, "b c h w"]:
    """Under a haze of noise, whose parts of half the size are weaker by `decay` squared; its contrast is doubled."""
    height, width = images.shape[2:]
    side, total = max(height, width), 0.0
    haze = torch.zeros_like(images[:, :1])
    for octave in range(math.ceil(math.log2(MAP))):
        spacing, weight = unit * MAP / 2**octave, decay ** (-2 * octave)
        nodes = math.ceil(side / spacing) + 1
        noise = chance.uniform(1, nodes, nodes)
        grown = interpolate(noise, scale_factor=spacing, mode="bilinear", align_corners=False)[..., :height, :width]
        haze, total = haze + weight * grown, total + weight
    brightest = images.amax(dim=(1, 2, 3), keepdim=True)
    haze = (2 * haze / total - 0.5).clamp(0, 1)  # the authors stretch theirs from its darkest to its brightest place
    return (images + amount * haze) * brightest / (brightest + amount)


def spatter(
    images: Float[Tensor, "b c h w"],
    chance: Chance,
    noise: tuple[float, float],
    widths: tuple[float, float],
    threshold: float,
    unit: float,
) -> Float[Tensor, "b c h w"]:
    """Under drops of mud: where blurred noise is high.

    Args:
        images: What they fall on.
        chance: Where.
        noise: Mean and deviation of the noise before it is blurred.
        widths: How far it is blurred, and then the edge of the drops.
        threshold: Above which there is mud.
        unit: Pixels for one of MNIST's.
    """
    mean, deviation = noise
    drawn = mean + deviation * unit * chance.normal(1, *images.shape[2:])  # blurring by more leaves less of it
    drops = (gaussian(drawn, widths[0] * unit) > threshold).to(images.dtype)
    soft = gaussian(drops, widths[1] * unit)
    mud = soft * (soft >= 0.8)
    return images * (1 - mud) + MUD * mud


def dotted_lines(
    images: Float[Tensor, "b c h w"], chance: Chance, number: int, unit: float
) -> Float[Tensor, "b c h w"]:
    """Under dotted lines from side to side."""
    height, width = images.shape[2:]
    ends = (height - 1) * chance.uniform(number, 2)
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    left, right = (rearrange(end, "b n -> b n 1") for end in ends.unbind(2))
    rows = left + (right - left) * columns / max(1, width - 1)
    is_dot = (columns / (2 * unit)).long() % 2 == 1
    return _drawn(images, rows, is_dot, unit)


def zigzags(images: Float[Tensor, "b c h w"], chance: Chance, number: int, unit: float) -> Float[Tensor, "b c h w"]:
    """Under lines that go up and down on their way from side to side."""
    height, width = images.shape[2:]
    uniform = rearrange(chance.uniform(number, 2), "b n k -> k b n 1")
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    start, tilt = (height - 1) * uniform[0], unit * (10 * uniform[1] - 5) / max(1, width - 1)
    teeth = 8 * ((columns / unit - 2) / 8 % 1 - 0.5).abs() - 2  # two pixels up and down, eight from tooth to tooth
    is_inside = (columns >= 2 * unit) & (columns <= width - 1 - 2 * unit)
    return _drawn(images, start + tilt * columns + unit * teeth, is_inside, unit)


def _drawn(
    images: Float[Tensor, "b c h w"], rows: Float[Tensor, "b n w"], is_drawn: Tensor, unit: float
) -> Float[Tensor, "b c h w"]:
    """White lines over images, through one place in each column; they fade as MNIST-C's do."""
    down = rearrange(torch.arange(images.shape[2], device=images.device), "h -> h 1")
    distance = (down - rearrange(rows, "b n w -> b n 1 w")).abs() / unit
    light = ((1 - (distance / THICK).clamp(max=1 - 1e-6)).log() + 1).clamp(min=0) * is_drawn
    return (images + rearrange(light.sum(dim=1), "b h w -> b 1 h w")).clamp(max=1)
