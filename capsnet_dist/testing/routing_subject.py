"""A routing under test, and votes that remember what they were asked."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from capsnet_dist.plugins import Routing, routings
from capsnet_dist.testing.subject import Inputs, Subject
from capsnet_dist.votes import Votes


class Sizes(NamedTuple):
    """What a routing is built for; all different, so that no axis can pass for another."""

    parts: int = 7
    part_dim: int = 3
    wholes: int = 5
    dim: int = 4


class Watched(Votes):
    """Votes that remember the couplings they were combined with, and those that came of a competition."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.combined: list[Tensor] = []
        self.competed: list[Tensor] = []

    def combine(self, coupling: Float[Tensor, "b i j"]) -> Float[Tensor, "b j d"]:
        """As Votes."""
        self.combined.append(coupling.detach())
        return super().combine(coupling)

    def compete(self, logits: Float[Tensor, "b i j"]) -> Float[Tensor, "b i j"]:
        """As Votes."""
        coupling = super().compete(logits)
        self.competed.append(coupling.detach())
        return coupling

    def last_coupling(self) -> Tensor | None:
        """The couplings that the wholes are made with, as far as they could be seen."""
        seen = self.combined or self.competed
        return seen[-1] if seen else None


class RoutingProbe(nn.Module):
    """A routing as a function of tensors: poses, transformations and activations."""

    def __init__(self, routing: Routing) -> None:
        super().__init__()
        self.plugin = routing

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Poses and activations of the wholes."""
        poses, weight, activations = tensors
        return tuple(self.plugin(Votes(poses, weight), activations))


class RoutingSubject(Subject):
    """A routing under test."""

    registry = routings
    batched = frozenset({"poses", "activations"})

    def wrap(self, *, sizes: Sizes = Sizes(), **options: Any) -> nn.Module:
        """A new one, for these sizes."""
        return RoutingProbe(self.construct(*sizes, **options))

    def structure(self) -> tuple[int, ...]:
        """The usual sizes."""
        return Sizes()

    def routing(self, sizes: Sizes = Sizes(), **options: Any) -> Routing:
        """A new one in float64 and evaluation mode, its parameters where they start."""
        return self.probe(stirred=False, sizes=sizes, **options).get_submodule("plugin")  # pyright: ignore

    def inputs(
        self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0, sizes: Sizes = Sizes()
    ) -> Inputs:
        """Random poses, transformations and activations."""
        draw = torch.Generator().manual_seed(seed)
        parts, part_dim, wholes, dim = sizes
        return {
            "poses": torch.randn(batch, parts, part_dim, generator=draw, dtype=dtype),
            "weight": torch.randn(parts, wholes, dim, part_dim, generator=draw, dtype=dtype),
            "activations": torch.rand(batch, parts, generator=draw, dtype=dtype),
        }

    def must_reach(self, probe: nn.Module) -> Iterable[str]:
        """Activations only where the routing cannot do without them."""
        routing: Any = probe.get_submodule("plugin")
        return ("poses", "weight", "activations") if routing.needs_activations else ("poses", "weight")
