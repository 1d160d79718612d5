"""The kernels of convolutions with 16-bit factors, in Triton: matrix products of maps with channels last in memory.

A map x[b, h, w, c] is read as b rows of h x w positions. A program of the wide kernels has samples as rows, at one
position, so that no row needs arithmetic of its own; weights are W[k, l, c, n]. Sums are in float32, in a fixed order.
"""

# pyright: basic
# Triton compiles these functions for the types of a call.

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def forward_kernel(
    x, W, bias, out, B, H, WIDE, OX, POSITIONS, S: tl.constexpr, KX: tl.constexpr, TAPS: tl.constexpr,
    C: tl.constexpr, N: tl.constexpr, RECTIFY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write out[b, y, x, n] = sum_klc x[b, s y + k, s x + l, c] W[k, l, c, n] + bias_n, rectified or not."""
    position, block = tl.program_id(0) % POSITIONS, tl.program_id(0) // POSITIONS
    b, n, c = block * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    row, column = position // OX * S, position % OX * S
    rows = x + b[:, None].to(tl.int64) * (H * WIDE * C) + c
    columns, here, there = W + c[:, None] * N + n, (b < B)[:, None], (n < N)[None, :]
    total = tl.zeros([BM, BN], tl.float32)
    for step in range(TAPS * C // BK):
        tap, start = step // (C // BK), step % (C // BK) * BK
        place = ((row + tap // KX) * WIDE + column + tap % KX) * C + start
        total = tl.dot(tl.load(rows + place, here, 0.0), tl.load(columns + step * BK * N, there, 0.0), total)
    total += tl.load(bias + n, n < N, 0.0).to(tl.float32)
    if RECTIFY:
        total = tl.maximum(total, 0.0)
    tl.store(out + (b[:, None].to(tl.int64) * POSITIONS + position) * N + n, total, here & there)


@triton.jit
@no_type_check
def input_gradient_kernel(
    gy, W, gx, B, H, WIDE, OY, OX, S: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr,
    C: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write gx[b, h, w, c] = sum gy[b, y, x, n] W[h - s y, w - s x, c, n] over all y, x with such a tap."""
    position, block = tl.program_id(0) % (H * WIDE), tl.program_id(0) // (H * WIDE)
    b, c, n = block * BM + tl.arange(0, BM), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    h, w = position // WIDE, position % WIDE
    y, x = tl.maximum(h - KY + S, 0) // S, tl.maximum(w - KX + S, 0) // S
    height, width = tl.minimum(h // S, OY - 1) - y + 1, tl.minimum(w // S, OX - 1) - x + 1
    rows = gy + b[:, None].to(tl.int64) * (OY * OX * N) + n
    columns, here, there = W + c[None, :] * N + n[:, None], (b < B)[:, None], (c < C)[None, :]
    total = tl.zeros([BM, BN], tl.float32)
    for step in range(tl.maximum(height, 0) * tl.maximum(width, 0) * (N // BK)):
        tap, start = step // (N // BK), step % (N // BK) * BK
        above, left = y + tap // width, x + tap % width
        gradient = tl.load(rows + (above * OX + left) * N + start, here, 0.0)
        matrix = tl.load(columns + ((h - S * above) * KX + w - S * left) * C * N + start, there, 0.0)
        total = tl.dot(gradient, matrix, total)
    tl.store(gx + (b[:, None].to(tl.int64) * (H * WIDE) + position) * C + c, total, here & there)


@triton.jit
@no_type_check
def weight_gradient_kernel(
    x, gy, gW, B, H, WIDE, OX, POSITIONS, PIECES, S: tl.constexpr, KX: tl.constexpr, TAPS: tl.constexpr,
    C: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write gW[k, l, c, n] = sum x[b, s y + k, s x + l, c] gy[b, y, x, n] of one of the pieces of the positions."""
    tap, piece = tl.program_id(0) % TAPS, tl.program_id(0) // TAPS
    c, n, b = tl.program_id(1) * BM + tl.arange(0, BM), tl.program_id(2) * BN + tl.arange(0, BN), tl.arange(0, BK)
    first, last = POSITIONS * piece // PIECES, POSITIONS * (piece + 1) // PIECES
    maps, gradients = x + b[:, None] * (H * WIDE * C) + c, gy + b[:, None] * (POSITIONS * N) + n
    blocks = tl.cdiv(B, BK)
    total = tl.zeros([BM, BN], tl.float32)
    for step in range((last - first) * blocks):
        position, start = first + step // blocks, (step % blocks * BK).to(tl.int64)
        place = (position // OX * S + tap // KX) * WIDE + position % OX * S + tap % KX
        here = (start + b < B)[:, None]
        some = tl.load(maps + (start * (H * WIDE) + place) * C, here & (c < C), 0.0)
        gradient = tl.load(gradients + (start * POSITIONS + position) * N, here & (n < N), 0.0)
        total = tl.dot(tl.trans(some), gradient, total)
    inside = (c < C)[:, None] & (n < N)
    tl.store(gW + ((piece * TAPS + tap) * C + c[:, None]).to(tl.int64) * N + n, total, inside)


@triton.jit
@no_type_check
def pack_kernel(weight, W, TAPS, C, N, BN: tl.constexpr, BT: tl.constexpr):
    """Write W[t, c, n] = weight[n, c, t] of one c."""
    c, n, t = tl.program_id(0), (tl.program_id(1) * BN + tl.arange(0, BN))[:, None], tl.arange(0, BT)
    inside = (n < N) & (t < TAPS)
    tl.store(W + (t * C + c) * N + n, tl.load(weight + (n * C + c) * TAPS + t, inside, 0.0), inside)


@triton.jit
@no_type_check
def unpack_kernel(gW, gradient, PIECES, TAPS, C, N, BN: tl.constexpr, BT: tl.constexpr):
    """Write gradient[n, c, t] = sum over the pieces of gW[t, c, n], of one c."""
    c, n, t = tl.program_id(0), (tl.program_id(1) * BN + tl.arange(0, BN))[:, None], tl.arange(0, BT)
    inside = (n < N) & (t < TAPS)
    total = tl.zeros([BN, BT], tl.float32)
    for piece in range(PIECES):
        total += tl.load(gW + ((piece * TAPS + t) * C + c) * N + n, inside, 0.0)
    tl.store(gradient + (n * C + c) * TAPS + t, total, inside)


@triton.jit
@no_type_check
def patches_forward_kernel(
    x, W, bias, out, ROWS, H, WIDE, OX, POSITIONS, S: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr,
    C: tl.constexpr, N: tl.constexpr, RECTIFY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """The same as `forward_kernel` for few channels: rows are all (b, y, x), and x[b, c, h, w] has channels first."""
    row, n, k = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, BK)
    n += tl.program_id(1) * BN
    patches = patch(x, row, k, ROWS, H, WIDE, OX, POSITIONS, S, KY, KX, C)
    matrix = tl.load(W + k[:, None] * N + n, (k < C * KY * KX)[:, None] & (n < N), 0.0)
    total = tl.dot(patches, matrix) + tl.load(bias + n, n < N, 0.0).to(tl.float32)
    if RECTIFY:
        total = tl.maximum(total, 0.0)
    tl.store(out + row[:, None] * N + n, total, (row < ROWS)[:, None] & (n < N))


@triton.jit
@no_type_check
def patches_gradient_kernel(
    x, gy, out, gW, gbias, ROWS, PIECES, H, WIDE, OX, POSITIONS, S: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr,
    C: tl.constexpr, N: tl.constexpr, RECTIFY: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
):  # fmt: skip
    """Write the gradients of W and bias of one of the pieces of the rows, where gy counts if out was not cut off."""
    piece, n, k = tl.program_id(0), tl.program_id(1) * BN + tl.arange(0, BN), tl.arange(0, BK)
    total, summed = tl.zeros([BK, BN], tl.float32), tl.zeros([BN], tl.float32)
    blocks = tl.cdiv(ROWS, BM)
    for block in range(blocks * piece // PIECES, blocks * (piece + 1) // PIECES):
        row = (block * BM + tl.arange(0, BM)).to(tl.int64)
        place, inside = row[:, None] * N + n, (row < ROWS)[:, None] & (n < N)
        gradient = tl.load(gy + place, inside, 0.0)
        if RECTIFY:
            gradient = tl.where(tl.load(out + place, inside, 0.0) > 0, gradient, 0.0)
        patches = patch(x, row, k, ROWS, H, WIDE, OX, POSITIONS, S, KY, KX, C)
        total = tl.dot(tl.trans(patches), gradient, total)
        summed += tl.sum(gradient.to(tl.float32), axis=0)
    inside = (k < C * KY * KX)[:, None] & (n < N)
    tl.store(gW + (piece * C * KY * KX + k[:, None]).to(tl.int64) * N + n, total, inside)
    tl.store(gbias + piece * N + n, summed, n < N)


@triton.jit
@no_type_check
def patch(
    x, row, k, ROWS, H, WIDE, OX, POSITIONS, S: tl.constexpr, KY: tl.constexpr, KX: tl.constexpr, C: tl.constexpr
):
    """What the kernel at (b, y, x) covers of x[b, c, h, w], as rows of c x k x l numbers, and zeros outside."""
    b, position = row // POSITIONS, (row % POSITIONS).to(tl.int32)
    corner = b * (C * H * WIDE) + position // OX * S * WIDE + position % OX * S
    tap = (k // (KY * KX) * H + k // KX % KY) * WIDE + k % KX
    return tl.load(x + corner[:, None] + tap, (row < ROWS)[:, None] & (k < C * KY * KX), 0.0)
