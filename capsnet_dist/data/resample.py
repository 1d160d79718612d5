"""Pixels of whole batches at other places: by whole pixels, or in between."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample


def pick(
    images: UInt8[Tensor, "b c h w"], rows: Int64[Tensor, "b y"], columns: Int64[Tensor, "b x"]
) -> UInt8[Tensor, "b c y x"]:
    """The pixels of each image in rows and columns of its own."""
    sample = torch.arange(len(images), device=images.device)
    maps = rearrange(images, "b c h w -> b h w c")
    picked = maps[sample[:, None, None], rows[:, :, None], columns[:, None, :]]
    return rearrange(picked, "b y x c -> b c y x")


def window(first: Int64[Tensor, " b"], length: int) -> Int64[Tensor, "b y"]:
    """The `length` consecutive numbers from the first of each image on."""
    return rearrange(first, "b -> b 1") + torch.arange(length, device=first.device)


def warp(
    images: UInt8[Tensor, "b c h w"],
    linear: Float64[Tensor, "b 2 2"],
    offset: Float64[Tensor, "b 2"],
    height: int,
    width: int,
    outside: Literal["zeros", "border"] = "zeros",
) -> UInt8[Tensor, "b c y x"]:
    """Images whose pixel at p shows what was at `linear` p + `offset`: bilinear, rounded.

    Places are rows and columns in pixels, from the centre of each image.

    Args:
        images: What is looked at.
        linear: The linear part, for each image.
        offset: The rest.
        height: Height of the result.
        width: Its width.
        outside: What is there beyond the image: black, or the nearest pixel of its border.
    """
    down = torch.arange(height, device=images.device, dtype=torch.float32) - (height - 1) / 2
    right = torch.arange(width, device=images.device, dtype=torch.float32) - (width - 1) / 2
    coordinates: list[Float32[Tensor, "b y x"]] = []
    for axis in (1, 0):  # grid_sample wants columns first, from -1 to 1 between the outer edges
        a, b, c = (rearrange(part.float(), "b -> b 1 1") for part in (*linear[:, axis].unbind(1), offset[:, axis]))
        place = a * rearrange(down, "y -> y 1") + b * rearrange(right, "x -> 1 x") + c
        coordinates.append(place * (2 / images.shape[2 + axis]))
    grid = torch.stack(coordinates, dim=-1)
    seen = grid_sample(images.float(), grid, mode="bilinear", padding_mode=outside, align_corners=False)
    return to_bytes(seen)


def to_bytes(pixels: Float32[Tensor, "*n"]) -> UInt8[Tensor, "*n"]:
    """Pixels of 0 to 255, rounded; those beyond become the nearest."""
    return pixels.round().clamp(0, 255).byte()
