"""The fifteen corruptions of MNIST-C (Mu and Gilmer, 2019), at five severities, for images of any size and channels.

Numbers are those of the authors' code, with pixels of MNIST's 28 in proportion to the shorter side. They have one
severity of each in their data set. `docs/robustness.md` says where what is here is not what their code does.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.data.resample import to_bytes, warp
from capsnet_dist.robustness import filters, overlays
from capsnet_dist.robustness.chance import Chance
from capsnet_dist.robustness.trial import Change

SEVERITIES = (1, 2, 3, 4, 5)

Corruption = Callable[[UInt8[Tensor, "b c h w"], Chance, int], UInt8[Tensor, "b c h w"]]
"""Images, random numbers for them, and a severity from 1 to 5."""
Filter = Callable[[Float[Tensor, "b c h w"], Chance, int, float], Float[Tensor, "b c h w"]]
"""The same with pixels in [0, 1], and how many pixels stand for one of MNIST's."""


def of_unit(change: Filter) -> Corruption:
    """A corruption that computes with pixels in [0, 1]."""

    def corrupt(images: UInt8[Tensor, "b c h w"], chance: Chance, severity: int) -> UInt8[Tensor, "b c h w"]:
        return to_bytes(255 * change(images.float() / 255, chance, severity, _unit(images)))

    return corrupt


def _unit(images: Tensor) -> float:
    return min(images.shape[2:]) / 28


def shot_noise(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """As if few photons had been counted."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return chance.poisson(images * photons) / photons


def impulse_noise(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Some pixels black or white."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    uniform = chance.uniform(*images.shape[1:])
    return torch.where(uniform < share, (uniform < share / 2).float(), images)


def glass_blur(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """As through rippled glass: blurred, neighbours exchanged, blurred."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    images = filters.gaussian(images, sigma * unit)
    for _ in range(times):
        images = filters.shuffled(images, chance, max(1, round(reach * unit)))
    return filters.gaussian(images, sigma * unit)


def motion_blur(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """As if moved while it was taken, up to 45 degrees from the horizontal."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    angle = (chance.uniform() - 0.5) * torch.pi / 2
    return filters.motion(images, angle, 2 * radius * unit, sigma * unit)


def brightness(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Brighter: of colours the value grows, and hue and saturation stay."""
    value = images.amax(dim=1, keepdim=True) if images.shape[1] == 3 else images
    brighter = (value + severity / 10).clamp(max=1)
    return torch.where(value > 0, images * brighter / value.clamp(min=1e-6), brighter)


def stripe(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Inverted but for a stripe in the middle; a quarter on either side, at severity 5, is the authors'."""
    width = images.shape[3]
    edge, column = max(1, round(width * severity / 20)), torch.arange(width, device=images.device)
    return torch.where((column < edge) | (column >= width - edge), 1 - images, images)


def fog(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """In fog."""
    amount, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    return overlays.fog(images, chance, amount, decay, unit)


def spatter(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Spattered with mud."""
    drops = ((4.0, 0.69, 0.6), (3.0, 0.68, 0.6), (2.0, 0.68, 0.5), (1.0, 0.65, 1.5), (1.0, 0.65, 1.5))
    sigma, threshold, edge = drops[severity - 1]
    noise = (0.67, 0.4) if severity == 5 else (0.65, 0.3)
    return overlays.spatter(images, chance, noise, (sigma, edge), threshold, unit)


def dotted_line(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Crossed by dotted lines, as many as the severity; one is the authors'."""
    return overlays.dotted_lines(images, chance, severity, unit)


def zigzag(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Crossed by zigzags, as many as the severity; one is the authors'."""
    return overlays.zigzags(images, chance, severity, unit)


def canny_edges(images: Tensor, chance: Chance, severity: int, unit: float) -> Tensor:
    """Faded into its edges (Canny, 1986), which alone are left at severity 5, as the authors have it."""
    share = severity / 5
    return (1 - share) * images + share * filters.edges(images, unit)


def rotate(images: UInt8[Tensor, "b c h w"], chance: Chance, severity: int) -> UInt8[Tensor, "b c h w"]:
    """Turned by 0.2 to 1 radian, one way or the other."""
    angle = severity / 5 * chance.sign()
    return _warped(images, [[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]])


def shear(images: UInt8[Tensor, "b c h w"], chance: Chance, severity: int) -> UInt8[Tensor, "b c h w"]:
    """Sheared by 0.2 to 1 radian, one way or the other: rows move by the sine, and come closer by the cosine."""
    angle = severity / 5 * chance.sign()
    return _warped(images, [[angle.cos(), 0 * angle], [-angle.sin(), 1 + 0 * angle]])


def scale(images: UInt8[Tensor, "b c h w"], chance: Chance, severity: int) -> UInt8[Tensor, "b c h w"]:
    """0.9 to 0.5 times as large."""
    factor = torch.full((len(images),), 1 / (1 - severity / 10), device=images.device)
    return _warped(images, [[factor, 0 * factor], [0 * factor, factor]])


def translate(images: UInt8[Tensor, "b c h w"], chance: Chance, severity: int) -> UInt8[Tensor, "b c h w"]:
    """Moved by 1 to 5 of 28 pixels both down or up and to the left or right."""
    pixels = max(1, round(severity * _unit(images)))
    shift = pixels * torch.stack([chance.sign(), chance.sign()], dim=1)
    one = torch.ones_like(shift[:, 0])
    return _warped(images, [[one, 0 * one], [0 * one, one]], shift)


def corrupted(name: str, severity: int, seed: int) -> Change:
    """A corruption that follows from a seed and the number of an image; a higher severity has the same noise."""

    def change(images: UInt8[Tensor, "b c h w"], numbers: Int64[Tensor, " b"]) -> UInt8[Tensor, "b c h w"]:
        return CORRUPTIONS[name](images, Chance(seed, name, numbers), severity)

    return change


def _warped(images: Tensor, linear: list[list[Tensor]], offset: Tensor | None = None) -> Tensor:
    """What was at linear p + offset, rows first; black beyond."""
    matrix = torch.stack([torch.stack(row, dim=1) for row in linear], dim=1).double()
    moved = torch.zeros_like(matrix[:, 0]) if offset is None else offset.double()
    height, width = images.shape[2:]
    return warp(images, matrix, moved, height, width)


CORRUPTIONS: dict[str, Corruption] = {
    "shot noise": of_unit(shot_noise),
    "impulse noise": of_unit(impulse_noise),
    "glass blur": of_unit(glass_blur),
    "motion blur": of_unit(motion_blur),
    "shear": shear,
    "scale": scale,
    "rotate": rotate,
    "brightness": of_unit(brightness),
    "translate": translate,
    "stripe": of_unit(stripe),
    "fog": of_unit(fog),
    "spatter": of_unit(spatter),
    "dotted line": of_unit(dotted_line),
    "zigzag": of_unit(zigzag),
    "canny edges": of_unit(canny_edges),
}
"""In the authors' order."""
