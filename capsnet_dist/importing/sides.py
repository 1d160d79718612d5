"""Sides of images, from the sides of maps that convolutions without padding made of them."""

import math
from collections.abc import Sequence

from capsnet_dist.importing.foreign import Foreign


def side_of(foreign: Foreign, positions: int, what: str) -> int:
    """Rows and columns of a square map.

    Raises:
        UserError: it is not square.
    """
    side = math.isqrt(positions)
    if side * side != positions:
        foreign.refuse(f"{what} stand at {positions} positions, which is no square")
    return side


def image_side(
    foreign: Foreign, side: int, convolutions: Sequence[tuple[int, int]], known: Sequence[int | None], told: int
) -> int:
    """Rows and columns of an image.

    Args:
        foreign: The file.
        side: Those of the last map.
        convolutions: Kernel and stride of each convolution, from below.
        known: What else the file says of them.
        told: What the user says; 0 for nothing.

    Raises:
        UserError: none fits, or several do and nothing says which.
    """
    lowest = highest = side
    for kernel, stride in reversed(convolutions):
        lowest, highest = (lowest - 1) * stride + kernel, (highest - 1) * stride + kernel + stride - 1
    fitting = range(lowest, highest + 1)
    said = {number for number in (*known, told or None) if number is not None}
    if len(said) > 1 or not said <= set(fitting):
        foreign.refuse(f"images of {sorted(said)} rows do not fit its shapes, which need {lowest} to {highest}")
    if not said and len(fitting) > 1:
        foreign.refuse(f"its shapes fit images of {lowest} to {highest} rows; name them with --size")
    return said.pop() if said else lowest
