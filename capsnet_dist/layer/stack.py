"""Convolutional capsules, layer upon layer (Hinton et al., 2018, figure 1)."""

from typing import Literal

from capsnet_dist.capsules import Grid
from capsnet_dist.errors import UserError
from capsnet_dist.layer.convolutional import ConvolutionalCapsules
from capsnet_dist.plugins import Routing
from capsnet_dist.registry import Choice


def convolutional_stack(
    inputs: Grid,
    types: tuple[int, ...],
    kernels: tuple[int, ...],
    strides: tuple[int, ...],
    *,
    rows: int,
    routing: Choice[Routing],
    competition: Literal["overlapping", "window"] = "overlapping",
) -> list[ConvolutionalCapsules]:
    """Layers of convolutional capsules, each on the one before; poses keep their size.

    Args:
        inputs: The capsules below.
        types: Types of capsule of each layer.
        kernels: Side of the window of each.
        strides: Step between the windows of each.
        rows: Rows of a pose.
        routing: How parts agree on wholes in each.
        competition: Which wholes compete for a part; see `ConvolutionalCapsules`.

    Raises:
        UserError: not as many kernels or strides as types, or what a layer refuses.
    """
    if not len(types) == len(kernels) == len(strides):
        raise UserError(f"types={types}, kernels={kernels}, strides={strides}: a layer needs one of each.")
    layers: list[ConvolutionalCapsules] = []
    for number, kernel, stride in zip(types, kernels, strides, strict=True):
        below = layers[-1].outputs if layers else inputs
        layer = ConvolutionalCapsules(
            below,
            types=number,
            dim=inputs.dim,
            kernel=kernel,
            stride=stride,
            rows=rows,
            competition=competition,
            routing=routing,
        )
        layers.append(layer)
    return layers
