"""The parts of a network.

Axes: `b` batch, `i` part, `j` whole, `p` pose size of a part, `d` pose size of a whole, `c` channel, `h w` position.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.votes import Votes

Image = tuple[int, int, int]
"""Channels, height and width of one image."""


class Routing(nn.Module, ABC):
    """How parts agree on wholes. Built as `Routing(parts, part_dim, wholes, dim, *, options)`.

    Args:
        parts: Number of parts, i.
        part_dim: Their pose size, p.
        wholes: Number of wholes, j.
        dim: Their pose size, d.
    """

    needs_activations: ClassVar[bool] = False
    """Whether it cannot do without the activations of the parts."""
    makes_activations: ClassVar[bool] = True
    """Whether the activations of its wholes say anything."""
    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `capsnet_dist.testing` that it fails by design, each with the reason."""

    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int) -> None:
        super().__init__()
        self.parts, self.part_dim, self.wholes, self.dim = parts, part_dim, wholes, dim

    @abstractmethod
    def forward(self, votes: Votes, activations: Float[Tensor, "b i"]) -> Capsules:
        """The wholes, from the votes and the activations of their parts."""

    def extra_repr(self) -> str:
        """What print(model) shows."""
        return f"{self.parts} x {self.part_dim} -> {self.wholes} x {self.dim}"


class Stem(nn.Module, ABC):
    """Images to feature maps. Built as `Stem(image, *, options)`.

    Args:
        maps: Channels, height and width of what it gives.
    """

    def __init__(self, maps: Image) -> None:
        super().__init__()
        self.maps = maps

    @abstractmethod
    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        """The feature maps."""


class Primary(nn.Module, ABC):
    """Feature maps to the first capsules. Built as `Primary(maps, *, options)`: channels, height, width.

    Args:
        outputs: The capsules it makes.
    """

    def __init__(self, outputs: Grid) -> None:
        super().__init__()
        self.outputs = outputs

    @abstractmethod
    def forward(self, maps: Float[Tensor, "b c h w"]) -> Capsules:
        """The capsules, type by type, row by row."""


class Layer(nn.Module, ABC):
    """Capsules to capsules. Built as `Layer(inputs, *, options)`: the grid of the capsules below.

    Args:
        inputs: The capsules below.
        outputs: The capsules it makes.
    """

    expected_failures: ClassVar[Mapping[str, str]] = {}
    """Checks of `capsnet_dist.testing` that it fails by design, each with the reason."""

    def __init__(self, inputs: Grid, outputs: Grid) -> None:
        super().__init__()
        self.inputs, self.outputs = inputs, outputs

    @abstractmethod
    def forward(self, capsules: Capsules) -> Capsules:
        """The capsules of the next level."""


class Decoder(nn.Module, ABC):
    """Class capsules to images. Built as `Decoder(image, classes, dim, *, options)`.

    Called with several labels for each sample, b x m, it rebuilds each object alone, b x m x c x h x w.
    """

    def __call__(
        self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b *m"]
    ) -> Float[Tensor, "b *m c h w"] | None:
        """One image of each sample, or one for each of its labels."""
        return super().__call__(poses, labels) if labels.ndim == 1 else self.objects(poses, labels)

    def objects(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, "b m"]) -> Float[Tensor, "b m c h w"] | None:
        """Each object alone: rebuilt from the capsule of one label after another."""
        found = [image for label in labels.unbind(dim=1) if (image := self(poses, label)) is not None]
        return torch.stack(found, dim=1) if found else None

    @abstractmethod
    def forward(self, poses: Float[Tensor, "b j d"], labels: Int64[Tensor, " b"]) -> Float[Tensor, "b c h w"] | None:
        """Images in [0, 1] rebuilt from the capsule of each sample's label; None where nothing is rebuilt."""
