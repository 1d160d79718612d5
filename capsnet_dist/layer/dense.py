"""Fully connected capsules (Sabour et al., 2017, section 4: DigitCaps)."""

import torch
from torch import nn

from capsnet_dist.capsules import Capsules, at_least_float32
from capsnet_dist.plugins import Layer, Routing, layers, routings
from capsnet_dist.registry import Choice
from capsnet_dist.votes import Votes


@layers.register("dense")
class DenseCapsules(Layer):
    """Every part votes for every whole by a matrix of its own (Sabour et al., 2017, eq. 2).

    Args:
        parts: Number of capsules below, i.
        part_dim: Their pose size, p.
        wholes: Number of capsules of this layer, j.
        dim: Their pose size, d.
        routing: How parts agree on wholes.
    """

    def __init__(
        self,
        parts: int,
        part_dim: int,
        *,
        wholes: int = 10,
        dim: int = 16,
        routing: Choice[Routing] = routings("dynamic"),
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(parts, wholes, dim, part_dim))
        self.routing = routing.build(parts, wholes, dim)
        nn.init.normal_(self.weight, std=0.1)  # long enough votes for routing to start at once

    def forward(self, capsules: Capsules) -> Capsules:
        """Vote and route, in float32 (or float64) whatever autocast says."""
        with torch.autocast(self.weight.device.type, enabled=False):
            poses, activations = map(at_least_float32, capsules)
            return self.routing(Votes(poses, self.weight), activations)

    def extra_repr(self) -> str:
        """What print(model) shows."""
        parts, wholes, dim, part_dim = self.weight.shape
        return f"{parts} x {part_dim} -> {wholes} x {dim}"
