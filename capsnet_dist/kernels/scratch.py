"""Memory that is used again, and memory as loops that numba compiles see it."""

import threading
from typing import Any

import torch
from torch import Tensor


class Scratch(threading.local):
    """Memory for what lives within one call, kept from call to call: fresh pages would take a quarter longer."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def __call__(self, use: str, like: Tensor, *shape: int) -> Tensor:
        """Memory of any content, for one use at a time; it stays as large as it ever was.

        Args:
            use: What for: whoever names the same use next gets the same memory.
            like: A tensor of the type and device that are wanted.
            shape: Sizes of the axes.
        """
        key, size = (use, like.dtype, like.device), torch.Size(shape)
        if key not in self._kept or self._kept[key].numel() < size.numel():
            with torch.inference_mode(mode=False):  # else it could not be written to outside that mode
                self._kept[key] = torch.empty(size.numel(), dtype=like.dtype, device=like.device)
        return self._kept[key][: size.numel()].reshape(size)


scratch = Scratch()


def flat_array(x: Tensor) -> Any:
    """The memory from the first to the last number of a tensor as an array of one axis; both share it."""
    size = 1 + sum((length - 1) * step for length, step in zip(x.shape, x.stride(), strict=True))
    return torch.as_strided(x.detach(), (size,), (1,)).numpy()
