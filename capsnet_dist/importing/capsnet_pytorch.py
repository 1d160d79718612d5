"""CapsNet in PyTorch: the notebook whose checkpoints are called checkpoint-ACCURACY-EPOCH.pth."""

import math

from capsnet_dist.importing.foreign import Foreign, Imported, Told
from capsnet_dist.importing.parts import by_type, capsule_counts, decoder_state, square_kernel
from capsnet_dist.importing.sides import image_side
from capsnet_dist.plugins import decoders, layers, models, primaries, routings, stems

NO_SQUASH = (
    "Its primary capsules are not squashed, so it is a network `stack` with primary `unsquashed`, not `capsnet`."
)
ONE_DECODER = (
    "Its decoder takes the capsule of one class, whichever it is; ours has the same weights once for each class, which "
    "further training moves apart."
)


def notebook(foreign: Foreign, told: Told) -> Imported:
    """Its model_state_dict: conv1, primary_capsules, routing.W and a decoder that takes one capsule."""
    first, bias = foreign.take(r"conv1\.conv\.weight", 4), foreign.take(r"conv1\.conv\.bias", 1)
    primary = foreign.take(r"primary_capsules\.conv\.weight", 4)
    primary_bias = foreign.take(r"primary_capsules\.conv\.bias", 1)
    weight = foreign.take(r"routing\.W", 4)
    decoder = foreign.take_pairs(r"decoder\.decoder\.\d+\.weight", r"decoder\.decoder\.\d+\.bias", 2)
    foreign.end()
    types, side = capsule_counts(foreign, len(primary), weight)
    kernels = square_kernel(foreign, first), square_kernel(foreign, primary)
    channels, (_, wholes, dim, pose) = first.shape[1], weight.shape
    pixels = math.isqrt(len(decoder[-1][0]) // channels) if decoder else None
    rows = image_side(foreign, side, ((kernels[0], 1), (kernels[1], 2)), [pixels], told.size)
    choice = models(
        "stack",
        stem=stems("convolution", channels=len(first), kernel=kernels[0]),
        primary=primaries("unsquashed", types=types, dim=pose, kernel=kernels[1], stride=2),
        layers=(layers("dense", wholes=wholes, dim=dim, routing=routings("dynamic", iterations=told.iterations)),),
        decoder=decoders("masked", hidden=tuple(len(matrix) for matrix, _ in decoder[:-1]))
        if decoder
        else decoders("none"),
    )
    state = {
        "stem.conv.weight": first,
        "stem.conv.bias": bias,
        "primary.conv.weight": primary,
        "primary.conv.bias": primary_bias,
        "layers.0.weight": by_type(weight, types),
        **(decoder_state(decoder, "c h w", channels, wholes * dim) if decoder else {}),
    }
    assumed = f"{told.iterations} routing iterations are assumed: the file does not say how many."
    notes = (NO_SQUASH, *([ONE_DECODER] if decoder else []), assumed)
    return Imported(choice, (channels, rows, rows), wholes, state, "stem.conv", notes=notes)
