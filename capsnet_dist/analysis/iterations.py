"""What the last routing of a network does, iteration by iteration."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Grid
from capsnet_dist.plugins import Layer, Model, Routing

SMALL = 1e-12


class Iterations(NamedTuple):
    """The iterations `t` of the routing that makes the class capsules."""

    grid: Grid
    """Where the parts stand."""
    couplings: Float[Tensor, "t b i j"]
    """Share of each part that each class gets: they sum to one over the classes, or less where a part may abstain."""
    agreement: Float[Tensor, "t b j"]
    """Mean scalar product of the votes of all parts for a class with the direction of what the class receives."""
    presence: Float[Tensor, "b i"]
    """Activations of the parts."""


@torch.no_grad()
def watch(model: Model, images: Float[Tensor, "b c h w"]) -> Iterations | None:
    """Classify images and see how the class capsules come about; None where no routing sees all parts at once."""
    layer = class_layer(model)
    if layer is None:
        return None
    with _watched(layer) as seen:
        model(images)
    combined = [
        (coupling, total) for coupling, total in seen.combined if coupling.shape[1] == layer.inputs.num_capsules
    ]
    if not combined or combined[0][0].shape[0] != len(images) or combined[0][0].shape[2] < 2:
        return None
    agreement = [
        reduce(seen.agreement(total / (total.norm(dim=-1, keepdim=True) + SMALL)), "b i j -> b j", "mean")
        for _, total in combined
    ]
    couplings = torch.stack([coupling for coupling, _ in combined])
    return Iterations(layer.inputs, couplings, torch.stack(agreement), seen.presence)


def class_layer(model: Model) -> Layer | None:
    """The last layer that routes."""
    layers = [module for module in model.modules() if isinstance(module, Layer) and _routing(module) is not None]
    return layers[-1] if layers else None


def entropy(couplings: Float[Tensor, "t b i j"]) -> Float[Tensor, "t b"]:
    """Entropy of a part's couplings, as shares of their sum, over that of even ones; mean over the parts.

    1 when a part goes to all classes alike, 0 when to one alone.
    """
    share = couplings.double().relu()
    share = share / share.sum(dim=-1, keepdim=True).clamp(min=SMALL)
    even = torch.tensor(couplings.shape[-1], dtype=torch.float64).log()
    return reduce(torch.special.entr(share), "t b i j -> t b", "sum") / (even * couplings.shape[2]).to(share.device)


def maps(found: Iterations) -> Float[Tensor, "t b j y x"]:
    """Mean coupling of the parts at each position, weighted by how much each is there."""
    sizes = {"y": found.grid.height, "x": found.grid.width}
    weight = found.presence[..., None]
    total = reduce(weight * found.couplings, "t b (n y x) j -> t b j y x", "sum", **sizes)
    return total / reduce(weight, "b (n y x) 1 -> b 1 y x", "sum", **sizes).clamp(min=SMALL)


class _Seen:
    """What one routing was given, and each of its `combine`."""

    def __init__(self) -> None:
        self.combined: list[tuple[Tensor, Tensor]] = []
        self.presence: Any = None
        self.agreement: Any = None


def _routing(layer: Layer) -> Routing | None:
    return next((child for child in layer.children() if isinstance(child, Routing)), None)


@contextmanager
def _watched(layer: Layer) -> Generator[_Seen]:
    seen = _Seen()

    def before(routing: Any, inputs: Any) -> None:
        votes, seen.presence = inputs
        combine, seen.agreement = votes.combine, votes.agreement

        def watched(coupling: Tensor) -> Tensor:
            total = combine(coupling)
            seen.combined.append((coupling, total))
            return total

        votes.combine = watched

    routing = _routing(layer)
    assert routing is not None
    hook = routing.register_forward_pre_hook(before)
    try:
        yield seen
    finally:
        hook.remove()
