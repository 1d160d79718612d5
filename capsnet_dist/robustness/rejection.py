"""Rejecting images that a network does not rebuild (Frosst, Sabour and Hinton, 2018, "DARCCC").

A network with a decoder rebuilds an image from the capsule of the class that it predicts. Of an image unlike those it
was trained on, and of one that was changed so as to be taken for another class, less is rebuilt.
"""

from typing import NamedTuple

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

REJECTED = 0.05  # share of unchanged images that may be rejected, as in the paper


class Roc(NamedTuple):
    """How many changed images are rejected, against how many unchanged ones, whatever error is tolerated."""

    unchanged: Float[Tensor, " m"]
    changed: Float[Tensor, " m"]

    @property
    def area(self) -> float:
        """Under the curve: how likely a changed image has the larger error, a half for the same."""
        return torch.trapezoid(self.changed, self.unchanged).item()


def unexplained(images: Float[Tensor, "b c h w"], rebuilt: Float[Tensor, "b c h w"]) -> Float[Tensor, " b"]:
    """The mean square of what is not rebuilt; its order is that of the distance in the paper."""
    return reduce((images - rebuilt).square(), "b c h w -> b", "mean")


def roc(unchanged: Float[Tensor, " n"], changed: Float[Tensor, " m"]) -> Roc:
    """The curve over all thresholds, from rejecting none to rejecting all."""
    thresholds = torch.cat([unchanged, changed]).unique().flip(0)
    shares: list[Tensor] = []
    for errors in (unchanged, changed):
        smaller = torch.searchsorted(errors.sort().values, thresholds)  # memory grows with images, not with pairs
        shares.append(torch.cat([torch.zeros(1), 1 - (smaller.double() / len(errors)).float()]))
    return Roc(*shares)


def threshold(unchanged: Float[Tensor, " n"]) -> float:
    """The error above which one unchanged image in twenty lies."""
    return torch.quantile(unchanged.double(), 1 - REJECTED).item()
