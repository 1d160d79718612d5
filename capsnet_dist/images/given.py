"""Images that a program gives to a network."""

import numpy as np
import torch
from torch import Tensor

from capsnet_dist.errors import UserError


def checked(images: Tensor | np.ndarray, image: tuple[int, int, int]) -> Tensor:
    """Images that a network can take, as a tensor.

    Raises:
        UserError: another shape, a type whose range is not known, or float pixels outside [0, 1].
    """
    if isinstance(images, np.ndarray) and images.dtype.kind in "uifb":
        images = torch.from_numpy(np.ascontiguousarray(images, images.dtype.newbyteorder("=")))
    if not isinstance(images, Tensor):
        raise UserError(
            f"Images must be a tensor or a NumPy array of numbers; got {getattr(images, 'dtype', images)!r:.200}."
        )
    if images.ndim != 4 or tuple(images.shape[1:]) != image:
        shape = "x".join(map(str, image))
        raise UserError(f"Images must be batch x {shape} (channels, height, width); got {tuple(images.shape)}.")
    if not images.is_floating_point():
        if images.dtype is not torch.uint8:
            raise UserError(
                f"Images must be uint8, from 0 to 255, or floating point in [0, 1]; got {images.dtype}, "
                "whose range is not known: images.to(torch.uint8) if its pixels are from 0 to 255."
            )
    elif images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise UserError("Floating point images must lie in [0, 1]; divide pixels of 0 to 255 by 255.")
    return images
