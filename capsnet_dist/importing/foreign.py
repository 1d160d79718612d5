"""What a file of somebody else holds, and what a layout makes of it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Image, Model
from capsnet_dist.registry import Choice
from capsnet_dist.text import listed, printable


class Told(NamedTuple):
    """What the user says of a file, where it does not say so itself."""

    size: int = 0
    """Rows and columns of an image; 0 where the file determines them."""
    iterations: int = 3
    """Routing iterations."""
    mean: tuple[float, ...] = ()
    """What was subtracted from the pixels in [0, 1] of each channel."""
    std: tuple[float, ...] = ()
    """What they were divided by then."""


class Imported(NamedTuple):
    """A network of this package, with the weights of somebody else."""

    choice: Choice[Model]
    """The network and its options."""
    image: Image
    """Channels, height and width of an image."""
    classes: int
    """Number of classes."""
    state: dict[str, Tensor]
    """Its weights, by our names."""
    first: str | None
    """The convolution that takes the pixels; None where it is padded, or the layout has seen to the pixels."""
    divisor: float = 255.0
    """What pixels of 0 to 255 were divided by; ours are by 255."""
    notes: tuple[str, ...] = ()
    """Where it differs from the network that was trained, and what was assumed."""


class Foreign:
    """The tensors of a file, each to be taken once; what nobody takes would be left out silently.

    Args:
        file: Where they are from.
        tensors: By their names there.
        config: What else the file says of the network, as its writer put it.
    """

    def __init__(self, file: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        self.file, self.config = file, config
        double = any(tensor.dtype is torch.float64 for tensor in tensors.values())
        self.dtype = torch.float64 if double else torch.float32
        self._left = {name: tensors[name].to(self.dtype) for name in sorted(tensors, key=by_number)}

    def names(self, pattern: str) -> list[str]:
        """The names that match a pattern whole, those with numbers in the order of the numbers."""
        return [name for name in self._left if re.fullmatch(pattern, name)]

    def take(self, pattern: str, ndim: int) -> Tensor:
        """The one tensor of that name and of so many axes.

        Raises:
            UserError: there is none, there are several, or it has other axes.
        """
        names = self.names(pattern)
        if len(names) != 1:
            self.refuse(f"{len(names)} tensors are called {pattern}")
        return self._pop(names[0], ndim)

    def take_all(self, pattern: str, ndim: int) -> list[Tensor]:
        """All tensors of that name, in the order of the numbers in their names."""
        return [self._pop(name, ndim) for name in self.names(pattern)]

    def take_pairs(self, kernels: str, biases: str, ndim: int) -> list[tuple[Tensor, Tensor]]:
        """Kernels, of so many axes, and the bias of each.

        Raises:
            UserError: they are not equally many, or have other axes.
        """
        pairs = self.take_all(kernels, ndim), self.take_all(biases, 1)
        if len(pairs[0]) != len(pairs[1]):
            self.refuse(f"{len(pairs[0])} tensors are called {kernels}, and {len(pairs[1])} {biases}")
        return list(zip(*pairs, strict=True))

    def skip(self, pattern: str) -> bool:
        """Leave out the tensors of that name; whether there are any."""
        names = self.names(pattern)
        for name in names:
            del self._left[name]
        return bool(names)

    def end(self) -> None:
        """Refuse what was not taken."""
        if self._left:
            self.refuse(f"the layout has no {listed(list(self._left))}")

    def refuse(self, why: str) -> NoReturn:
        """Say that the file is not of the layout, and why."""
        held = listed([f"{name:.200} {tuple(tensor.shape)}" for name, tensor in self._left.items()]) or "nothing"
        raise UserError(f"{self.file} does not follow this layout: {printable(f'{why}. Not used: {held}.')}")

    def _pop(self, name: str, ndim: int) -> Tensor:
        if self._left[name].ndim != ndim:
            self.refuse(f"{name} has {self._left[name].ndim} axes, not {ndim}")
        if not self._left[name].numel():
            self.refuse(f"{name} is empty")
        return self._left.pop(name)


def by_number(name: str) -> list[tuple[int, str]]:
    """A key to sort by: conv2d_9 comes before conv2d_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
