"""Random numbers for images, each of which has a stream of its own."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.data.order import derive


class Chance:
    """A stream of random numbers for each image, which follows from a seed, a purpose and the image's number alone.

    Args:
        seed: The seed.
        purpose: What the numbers are for.
        numbers: The numbers of the images in their data set.
    """

    def __init__(self, seed: int, purpose: str, numbers: Int64[Tensor, " b"]) -> None:
        self.device = numbers.device
        self.streams = [torch.Generator().manual_seed(derive(seed, purpose, number)) for number in numbers.tolist()]

    def uniform(self, *shape: int) -> Float[Tensor, "b *n"]:
        """Numbers in [0, 1), so many for each image."""
        return self._drawn(lambda number, stream: torch.rand(shape, generator=stream))

    def normal(self, *shape: int) -> Float[Tensor, "b *n"]:
        """Numbers of mean 0 and deviation 1."""
        return self._drawn(lambda number, stream: torch.randn(shape, generator=stream))

    def poisson(self, rates: Float[Tensor, "b *n"]) -> Float[Tensor, "b *n"]:
        """Counts, of as many as there are rates."""
        held = rates.cpu()
        return self._drawn(lambda number, stream: torch.poisson(held[number], generator=stream))

    def sign(self) -> Float[Tensor, " b"]:
        """1 or -1."""
        return 1 - 2 * (self.uniform() < 0.5).float()

    def _drawn(self, draw: Callable[[int, torch.Generator], Tensor]) -> Float[Tensor, "b *n"]:
        return torch.stack([draw(number, stream) for number, stream in enumerate(self.streams)]).to(self.device)
