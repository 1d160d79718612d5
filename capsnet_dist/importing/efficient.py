"""Efficient-CapsNet in Keras: EscVM/Efficient-CapsNet."""

import math

from einops import rearrange
from torch import Tensor

from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.parts import decoder_state, from_keras, square_kernel
from capsnet_dist.importing.sides import image_side
from capsnet_dist.plugins import decoders, models, primaries, stems

STRIDES = {("batch", 9): ((1, 1, 1, 2), 1), ("batch", 5): ((1, 1, 2, 2), 2), ("instance", 8): ((2, 1, 1, 2), 1)}
"""Of the convolutions and the primary capsules, which the weights do not tell, by normalization and largest kernel."""
INNER = r"(?!.*[Gg]enerator).*?"  # before the name of a layer that is not the decoder's
STANDARDIZED = (
    "It was trained on images whose channels had mean 0 and deviation 1 over the data set: give the mean and deviation "
    "of pixels in [0, 1] with --mean and --std."
)
CUT_DECODER = "Its decoder is left out: its convolutions are not padded, and those of our decoder `upsampling` are."


def efficient_capsnet(foreign: Foreign, told: Told) -> Imported:
    """The weights of its `save_weights`: those of MNIST, MultiMNIST or smallNORB."""
    *kernels, depthwise = [
        from_keras(kernel) for kernel in foreign.take_all(INNER + r"conv2d[^/]*/kernel", 4)
    ] or foreign.refuse("it has no convolutions")
    biases = foreign.take_all(INNER + r"conv2d[^/]*/bias", 1)
    normalization = "batch" if foreign.names(INNER + r"batch_normalization[^/]*/gamma") else "instance"
    norms = {
        ours: foreign.take_all(INNER + rf"{normalization}_normalization[^/]*/{theirs}", 1)
        for ours, theirs in (("weight", "gamma"), ("bias", "beta"))
    }
    if normalization == "batch":
        norms["running_mean"] = foreign.take_all(INNER + r"batch_normalization[^/]*/moving_mean", 1)
        norms["running_var"] = foreign.take_all(INNER + r"batch_normalization[^/]*/moving_variance", 1)
    votes = rearrange(foreign.take(INNER + "W", 4), "j i p d -> i j d p")
    prior = rearrange(foreign.take(INNER + "b", 3), "j i 1 -> i j")
    kernel = square_kernel(foreign, depthwise)
    if any(len(tensors) != len(kernels) for tensors in norms.values()) or len(biases) != len(kernels) + 1:
        foreign.refuse("its convolutions, their biases and their normalizations are not equally many")
    if (normalization, kernel) not in STRIDES or len(kernels) != 4:
        foreign.refuse(
            f"{len(kernels)} convolutions, {normalization} normalization and a kernel of {kernel} are unknown"
        )
    strides, step = STRIDES[normalization, kernel]
    (parts, wholes, dim, pose), channels = votes.shape, kernels[0].shape[1]
    if parts * pose != len(depthwise):
        foreign.refuse(f"{len(depthwise)} maps do not make {parts} capsules of {pose} numbers")
    sides = [square_kernel(foreign, each) for each in kernels]
    decoder, pixels, notes = _decoder(foreign, channels)
    foreign.end()
    convolutions = (*zip(sides, strides, strict=True), (kernel, step))
    rows = image_side(foreign, 1, convolutions, [pixels], told.size)
    state = {
        **_stem(kernels, biases, norms),
        "primary.conv.weight": depthwise,
        "primary.conv.bias": biases[-1],
        "class_capsules.weight": votes,
        "class_capsules.routing.bias": prior,
        **(decoder_state(decoder, "h w c", channels, wholes * dim) if decoder else {}),
    }
    hidden = tuple(len(matrix) for matrix, _ in decoder[:-1])
    choice = models(
        "efficient_capsnet",
        stem=stems(
            "efficient",
            channels=tuple(map(len, kernels)),
            kernels=tuple(sides),
            strides=strides,
            normalization=normalization,
        ),
        primary=primaries("depthwise", dim=pose, kernel=kernel, stride=step),
        dim=dim,
        decoder=decoders("masked", hidden=hidden) if decoder else decoders("none"),
    )
    image = (channels, rows, rows)
    if normalization == "batch":
        return Imported(choice, image, wholes, state, "stem.steps.0", 256.0, notes)
    return Imported(choice, image, wholes, state, "stem.steps.0", notes=notes if told.std else (*notes, STANDARDIZED))


def _stem(kernels: list[Tensor], biases: list[Tensor], norms: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Three steps to each convolution: itself, a nonlinearity, a normalization."""
    state: dict[str, Tensor] = {}
    for number, (kernel, bias) in enumerate(zip(kernels, biases, strict=False)):
        state |= {f"stem.steps.{3 * number}.weight": kernel, f"stem.steps.{3 * number}.bias": bias}
        state |= {f"stem.steps.{3 * number + 2}.{name}": tensors[number] for name, tensors in norms.items()}
    return state


def _decoder(foreign: Foreign, channels: int) -> tuple[list[tuple[Tensor, Tensor]], int | None, tuple[str, ...]]:
    """Its layers, the rows of an image that they tell, and what is to be said of it."""
    dense = foreign.take_pairs(r".*dense[^/]*/kernel", r".*dense[^/]*/bias", 2)
    layers = [(rearrange(kernel, "m n -> n m"), bias) for kernel, bias in dense]
    if not foreign.skip(r".*[Gg]enerator.*conv2d.*"):
        return layers, math.isqrt(len(layers[-1][0]) // channels) if layers else None, ()
    # three times doubled and cut by two, then cut by two once more: the map of 8 x 8 becomes 48 x 48
    return [], 8 * math.isqrt(len(layers[0][0])) - 16 if layers else None, (CUT_DECODER,)
