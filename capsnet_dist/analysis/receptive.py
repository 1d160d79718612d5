"""Where on the image the capsules of a layer look."""

from typing import Any, NamedTuple

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import Capsules
from capsnet_dist.plugins import Layer, Model


class Extent(NamedTuple):
    """Where a map lies on an image, in pixels."""

    left: float
    right: float
    bottom: float
    top: float


def extent(model: Model, layer: Layer) -> Extent:
    """Where the map of the capsules below a layer lies on the image, if its positions stand in equal steps.

    A position stands in the middle of the pixels that change its capsules: found by their gradients, in noise.
    """
    parameter = next(model.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, *model.image, generator=generator).to(parameter).requires_grad_()
    seen: list[Capsules] = []

    def note(layer: Any, inputs: Any) -> None:
        seen.append(inputs[0])

    hook = layer.register_forward_pre_hook(note)
    try:
        with torch.enable_grad():
            model(images)
    finally:
        hook.remove()
    sizes = {"y": layer.inputs.height, "x": layer.inputs.width}
    poses = rearrange(seen[0].poses, "b (n y x) d -> b n y x d", **sizes)
    first, last = (_middle(poses[:, :, place, place], images) for place in (0, -1))
    _, height, width = model.image
    top, bottom = _ends(first[0], last[0], sizes["y"], height)
    left, right = _ends(first[1], last[1], sizes["x"], width)
    return Extent(left, right, bottom, top)


def _middle(poses: Float[Tensor, "b n d"], images: Float[Tensor, "b c h w"]) -> tuple[float, float]:
    """Row and column of the middle of the pixels that move some poses."""
    (gradient,) = torch.autograd.grad(poses.abs().sum(), images, retain_graph=True)
    moved = reduce(gradient.abs(), "b c h w -> h w", "max") > 0
    return _half(moved.any(dim=1)), _half(moved.any(dim=0))


def _half(moved: Tensor) -> float:
    places = moved.nonzero()[:, 0].tolist() or [0, len(moved) - 1]
    return (places[0] + places[-1] + 1) / 2


def _ends(first: float, last: float, count: int, side: int) -> tuple[float, float]:
    """From where to where positions reach that stand at these ends; the whole image if there is one alone."""
    if count == 1 or last <= first:
        return 0.0, float(side)
    half = (last - first) / (count - 1) / 2
    return first - half, last + half
