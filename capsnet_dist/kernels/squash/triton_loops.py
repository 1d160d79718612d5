"""The kernels that squash capsules, in Triton."""

# pyright: basic
# Triton compiles these functions for the types of a call.

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def squash_kernel(
    s, v, lengths, sb, sc, sp, N, positions, e, tiny, D: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr
):
    """Write v = |s|^2 / (1 + |s|^2) s / sqrt(|s|^2 + e) and sqrt(|v|^2 + tiny) of some capsules of a sample."""
    b, n, d = tl.program_id(0).to(tl.int64), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BD)
    inside = (n < N)[:, None] & (d < D)
    x = tl.load(s + channel(b, n, d, sb, sc, sp, positions, D), inside, 0.0).to(tl.float32)
    squared = tl.sum(x * x, axis=1)
    scale = squared / (1 + squared) / tl.sqrt(squared + e)
    tl.store(v + (b * N + n[:, None]) * D + d, x * scale[:, None], inside)
    tl.store(lengths + b * N + n, tl.sqrt(squared * scale * scale + tiny), n < N)


@triton.jit
@no_type_check
def squash_gradient_kernel(
    s, gv, glengths, gs, sb, sc, sp, gb, gc, gp, N, positions, e, tiny,
    D: tl.constexpr, POSES: tl.constexpr, LENGTHS: tl.constexpr, BN: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Write gs."""
    b, n, d = tl.program_id(0).to(tl.int64), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BD)
    inside = (n < N)[:, None] & (d < D)
    x = tl.load(s + channel(b, n, d, sb, sc, sp, positions, D), inside, 0.0).to(tl.float32)
    squared = tl.sum(x * x, axis=1)
    ratio = 1 / ((1 + squared) * tl.sqrt(squared + e))  # of the scale and the squared length
    scale = squared * ratio
    gradient = tl.zeros([BN, BD], tl.float32)
    if POSES:
        gradient += tl.load(gv + (b * N + n[:, None]) * D + d, inside, 0.0).to(tl.float32)
    if LENGTHS:
        by_length = tl.load(glengths + b * N + n, n < N, 0.0).to(tl.float32)
        length = tl.sqrt(squared * scale * scale + tiny)
        gradient += (by_length * scale / length)[:, None] * x
    slope = ratio * (1 / (1 + squared) - 0.5 * squared / (squared + e))  # of the scale, by the squared length
    along = 2 * slope * tl.sum(x * gradient, axis=1)
    result = scale[:, None] * gradient + along[:, None] * x
    tl.store(gs + channel(b, n, d, gb, gc, gp, positions, D), result, inside)


@triton.jit
@no_type_check
def channel(b, n, d, sb, sc, sp, positions, D):
    """Where number d of capsule n is, which are listed type by type, position by position."""
    kind, position = n // positions, n % positions
    return b * sb + (kind[:, None] * D + d) * sc + position[:, None] * sp
