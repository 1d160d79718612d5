"""Capsule-wise convolution in Keras: ruslangrimov/capsnet-with-capsulewise-convolution."""

from typing import Any, cast

import torch
from einops import rearrange

from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.hdf5 import integer, options, rows_of, strides
from capsnet_dist.importing.parts import by_type, from_keras, square_kernel
from capsnet_dist.importing.sides import image_side, side_of
from capsnet_dist.plugins import Layer, decoders, layers, models, primaries, routings, stems
from capsnet_dist.registry import Choice

DECODER = "Its decoder is in a file of its own and has other nonlinearities than ours: there is none here."
NORMS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def capsulewise(foreign: Foreign, told: Told) -> Imported:
    """A network saved whole: one convolution, layers of capsules without routing, and one with it."""
    first = from_keras(foreign.take(r".*/conv2d_\d+/kernel", 4))
    state = {"stem.steps.0.weight": first, "stem.steps.0.bias": foreign.take(r".*/conv2d_\d+/bias", 1)}
    for ours, theirs in NORMS.items():
        state[f"stem.steps.2.{ours}"] = foreign.take(rf".*batch_normalization[^/]*/{theirs}", 1)
    convolutions = foreign.take_all(r".*/conv2d_caps[^/]*/kernel", 6)
    weight = rearrange(foreign.take(r".*/dense_caps[^/]*/kernel", 4), "i p j d -> i j d p")
    foreign.end()
    (step,), capsules = strides(foreign, "Conv2D", 1), options(foreign, "Conv2DCaps", len(convolutions))
    steps = [integer(foreign, layer, "strides") for layer in capsules]
    if not convolutions or any(layer.get("r_num", 1) != 1 for layer in capsules):
        foreign.refuse("it has no convolutional capsules, or some that route")
    parts, wholes, dim, _ = weight.shape
    types = convolutions[-1].shape[4]
    kernels = [rearrange(kernel, "y x c p j d -> (j d) (c p) y x") for kernel in convolutions]
    sides = [square_kernel(foreign, kernel) for kernel in (first, *kernels)]
    side = side_of(foreign, parts // types, "the capsules below the classes")
    given = [rows_of(layer) for layer in options(foreign, "InputLayer", 1)]
    rows = image_side(foreign, side, tuple(zip(sides, (step, *steps), strict=True)), given, told.size)
    state |= {"primary.conv.weight": kernels[0], "primary.conv.bias": torch.zeros_like(kernels[0][:, 0, 0, 0])}
    state |= {f"layers.{number}.conv.weight": kernel for number, kernel in enumerate(kernels[1:])}
    state[f"layers.{len(kernels) - 1}.weight"] = by_type(weight, types)
    above = [
        layers("squashed", types=kernel.shape[4], dim=kernel.shape[5], kernel=k, stride=stride, padding=0)
        for kernel, k, stride in zip(convolutions[1:], sides[2:], steps[1:], strict=True)
    ]
    choice = models(
        "stack",
        stem=stems("efficient", channels=(len(first),), kernels=(sides[0],), strides=(step,)),
        primary=primaries(
            "vector", types=convolutions[0].shape[4], dim=convolutions[0].shape[5], kernel=sides[1], stride=steps[0]
        ),
        layers=(*above, _class_capsules(foreign, wholes, dim)),
        decoder=decoders("none"),
    )
    return Imported(choice, (first.shape[1], rows, rows), wholes, state, "stem.steps.0", notes=(DECODER,))


def _class_capsules(foreign: Foreign, wholes: int, dim: int) -> Choice[Layer]:
    """The layer that routes: couplings are softmax(alpha b), times the number of wholes, and count as constants."""
    (dense,) = options(foreign, "DenseCaps", 1)
    iterations = integer(foreign, dense, "r_num")
    alphas: Any = dense.get("b_alphas", [8] * iterations)  # a constant of its first versions
    later = set(cast(list[Any], alphas)[1:iterations]) if isinstance(alphas, list) else set[Any]()
    alpha = later.pop() if len(later) == 1 else None
    if iterations < 2 or not isinstance(alpha, int | float) or alpha <= 0:
        foreign.refuse(f"b_alphas={alphas!r:.50}: those after the first, where logits are zero, must be one number")
    routing = routings("dynamic", iterations=iterations, gradient="last", temperature=1 / alpha, scale=float(wholes))
    return layers("dense", wholes=wholes, dim=dim, routing=routing)
