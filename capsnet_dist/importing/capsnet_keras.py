"""CapsNet in Keras: XifengGuo/CapsNet-Keras and MiguelCosta94/Q7-CapsNets."""

import math
from collections.abc import Sequence

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.hdf5 import integer, options, rows_of, strides
from capsnet_dist.importing.parts import by_type, capsule_counts, decoder_state, from_keras, square_kernel
from capsnet_dist.importing.sides import image_side
from capsnet_dist.plugins import decoders, layers, models, primaries, routings, stems


def xifeng_keras(foreign: Foreign, told: Told) -> Imported:
    """The weights of its `save_weights`: conv1, primarycap_conv2d, digitcaps, and dense layers of the decoder."""
    first = from_keras(foreign.take(r"(.*/)?conv1/kernel", 4))
    first_bias = foreign.take(r"(.*/)?conv1/bias", 1)
    primary = from_keras(foreign.take(r"(.*/)?primarycap_conv2d/kernel", 4))
    primary_bias = foreign.take(r"(.*/)?primarycap_conv2d/bias", 1)
    weight = rearrange(foreign.take(r"(.*/)?digitcaps/W", 4), "j i d p -> i j d p")
    dense = foreign.take_pairs(r"(.*/)?dense[^/]*/kernel", r"(.*/)?dense[^/]*/bias", 2)
    decoder = [(rearrange(kernel, "m n -> n m"), bias) for kernel, bias in dense]
    foreign.end()
    pixels = math.isqrt(len(decoder[-1][0]) // first.shape[1]) if decoder else None
    found = _capsnet(foreign, (first, first_bias), (primary, primary_bias), weight, 2, [pixels], told)
    assumed = f"{told.iterations} routing iterations are assumed: the file does not say how many."
    if not decoder:
        return found._replace(notes=(assumed,))
    state = found.state | decoder_state(decoder, "h w c", first.shape[1], weight.shape[1] * weight.shape[2])
    choice = found.choice.replace(decoder=decoders("masked", hidden=tuple(len(matrix) for matrix, _ in decoder[:-1])))
    return found._replace(choice=choice, state=state, notes=(assumed,))


def q7(foreign: Foreign, told: Told) -> Imported:
    """A network that was saved whole: convolutions, primary_capsule, capsule; no decoder."""
    convolutions = foreign.take_pairs(r"(.*/)?conv2d[^/]*/kernel", r"(.*/)?conv2d[^/]*/bias", 4)
    kernels, biases = [from_keras(kernel) for kernel, _ in convolutions], [bias for _, bias in convolutions]
    primary = from_keras(foreign.take(r"(.*/)?primarycap_conv2d/kernel", 4))
    primary_bias = foreign.take(r"(.*/)?primarycap_conv2d/bias", 1)
    weight = rearrange(foreign.take(r"(.*/)?capsule/weights", 4), "j i d p -> i j d p")
    foreign.end()
    if not kernels:
        foreign.refuse("it has no convolution before the primary capsules")
    steps = strides(foreign, "Conv2D", len(kernels))
    (step,), (capsules,) = strides(foreign, "PrimaryCapsule", 1), options(foreign, "Capsule", 1)
    told = told._replace(iterations=integer(foreign, capsules, "routings"))
    given = [rows_of(layer) for layer in options(foreign, "InputLayer", 1)]
    if steps == [1]:
        return _capsnet(foreign, (kernels[0], biases[0]), (primary, primary_bias), weight, step, given, told)
    types, side = capsule_counts(foreign, len(primary), weight)
    sides = [square_kernel(foreign, kernel) for kernel in kernels]
    last = square_kernel(foreign, primary)
    rows = image_side(foreign, side, (*zip(sides, steps, strict=True), (last, step)), given, told.size)
    channels, (_, wholes, dim, pose) = kernels[0].shape[1], weight.shape
    routing = routings("dynamic", iterations=told.iterations)
    choice = models(
        "stack",
        stem=stems("convolutions", channels=tuple(map(len, kernels)), kernels=tuple(sides), strides=tuple(steps)),
        primary=primaries("vector", types=types, dim=pose, kernel=last, stride=step),
        layers=(layers("dense", wholes=wholes, dim=dim, routing=routing),),
        decoder=decoders("none"),
    )
    state = {
        "primary.conv.weight": primary,
        "primary.conv.bias": primary_bias,
        "layers.0.weight": by_type(weight, types),
    }
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        state |= {f"stem.convolutions.{number}.weight": kernel, f"stem.convolutions.{number}.bias": bias}
    return Imported(choice, (channels, rows, rows), wholes, state, "stem.convolutions.0")


def _capsnet(
    foreign: Foreign,
    first: tuple[Tensor, Tensor],
    primary: tuple[Tensor, Tensor],
    weight: Float[Tensor, "i j d p"],
    stride: int,
    known: Sequence[int | None],
    told: Told,
) -> Imported:
    """One convolution of stride 1, primary capsules and class capsules; no decoder.

    Args:
        foreign: The file.
        first: Kernel and bias of the convolution.
        primary: Those of the primary capsules.
        weight: The matrices, with parts in the order row, column, type.
        stride: That of the primary capsules.
        known: What the file says of the rows of an image.
        told: What the user says.
    """
    types, side = capsule_counts(foreign, len(primary[0]), weight)
    kernels = square_kernel(foreign, first[0]), square_kernel(foreign, primary[0])
    rows = image_side(foreign, side, ((kernels[0], 1), (kernels[1], stride)), known, told.size)
    _, wholes, dim, pose = weight.shape
    choice = models(
        "capsnet",
        channels=len(first[0]),
        kernel=kernels[0],
        primary_types=types,
        primary_dim=pose,
        primary_kernel=kernels[1],
        primary_stride=stride,
        dim=dim,
        routing=routings("dynamic", iterations=told.iterations),
        decoder=decoders("none"),
    )
    state = {
        "conv.weight": first[0],
        "conv.bias": first[1],
        "primary.conv.weight": primary[0],
        "primary.conv.bias": primary[1],
        "class_capsules.weight": by_type(weight, types),
    }
    return Imported(choice, (first[0].shape[1], rows, rows), wholes, state, "conv")
