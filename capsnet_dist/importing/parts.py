"""Pieces that layouts have in common: kernels, votes and decoders, moved to where ours stand."""

from collections.abc import Sequence
from typing import Literal

from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.importing.foreign import Foreign
from capsnet_dist.importing.sides import side_of


def from_keras(kernel: Float[Tensor, "y x c n"]) -> Float[Tensor, "n c y x"]:
    """A kernel of Keras."""
    return rearrange(kernel, "y x c n -> n c y x")


def by_type(weights: Float[Tensor, "i ..."], types: int) -> Float[Tensor, "i ..."]:
    """What belongs to parts in the order row, column, type, in the order type, row, column."""
    return rearrange(weights, "(places t) ... -> (t places) ...", t=types)


def square_kernel(foreign: Foreign, kernel: Float[Tensor, "n c y x"]) -> int:
    """Its side.

    Raises:
        UserError: it is not square.
    """
    rows, columns = kernel.shape[2:]
    if rows != columns:
        foreign.refuse(f"a kernel has {rows} rows and {columns} columns, and only square ones are known")
    return rows


def capsule_counts(foreign: Foreign, channels: int, weight: Float[Tensor, "i j d p"]) -> tuple[int, int]:
    """Types of primary capsule, and rows of positions that have them, from the channels that make them.

    Raises:
        UserError: the two do not divide.
    """
    parts, *_, dim = weight.shape
    if channels % dim or parts % (channels // dim):
        foreign.refuse(f"{channels} channels and {parts} parts do not make capsules of {dim} numbers")
    types = channels // dim
    return types, side_of(foreign, parts // types, "primary capsules")


def decoder_state(
    layers: Sequence[tuple[Tensor, Tensor]], pixels: Literal["h w c", "c h w"], channels: int, inputs: int
) -> dict[str, Tensor]:
    """The weights of the decoder "masked".

    Args:
        layers: Weight (outputs x inputs) and bias of each.
        pixels: How the last outputs are sorted.
        channels: Channels of an image.
        inputs: Numbers of all class capsules. A first layer that takes one capsule alone is repeated for each: the
            mask leaves only that of the label.
    """
    (first, shift), *rest = layers
    first = repeat(first, "n d -> n (j d)", j=inputs // first.shape[1])
    *hidden, (last, end) = ((first, shift), *rest)
    if pixels == "h w c":
        last = rearrange(last, "(places c) m -> (c places) m", c=channels)
        end = rearrange(end, "(places c) -> (c places)", c=channels)
    named: dict[str, Tensor] = {}
    for number, (weight, bias) in enumerate((*hidden, (last, end))):
        named |= {f"decoder.layers.{2 * number}.weight": weight, f"decoder.layers.{2 * number}.bias": bias}
    return named
