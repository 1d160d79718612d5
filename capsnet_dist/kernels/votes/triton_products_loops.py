"""The kernels of votes that are only multiplied, in Triton: matrix products of scaled poses.

None holds votes: s_j = sum_i W_ij (c_ij u_i) and a_ij = (W_ij^T v_j) . u_i. Couplings are c[b, j, i]. A program has BB
samples, and as columns n the numbers p of BI parts. Sums are in float32, whatever the inputs are; each sum over parts
or samples is one program's, so that nothing depends on who comes first.
"""

# pyright: basic
# ruff: noqa: E741
# Triton compiles these functions for the types of a call; I, the number of parts, is named as in the formulas.

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["B", "N"])
@no_type_check
def combine_kernel(
    u, W, c, s, B, I, J, N, D: tl.constexpr, P: tl.constexpr, PRECISE: tl.constexpr,
    BB: tl.constexpr, BI: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write sum_i c_ij W_ij u_i of one of N pieces of the parts, for BJ of the wholes."""
    b, n, d = samples(BB), tl.arange(0, BI * BP), tl.arange(0, BD)
    p, piece, first = n % BP, tl.program_id(1), tl.program_id(2) * BJ
    totals = ()
    for _ in tl.static_range(BJ):
        totals = totals + (tl.zeros([BB, BD], tl.float32),)
    size = BI * tl.cdiv(tl.cdiv(I, BI), N)
    for start in range(piece * size, min(I, (piece + 1) * size), BI):
        parts, i = start + tl.arange(0, BI), start + n // BP
        poses = poses_of(u, b, i, p, B, I, P)
        added = ()
        for k in tl.static_range(BJ):
            coupling = couplings(c, b, first + k, parts, B, I, J)
            matrix = tl.trans(matrices(W, i, first + k, d, p, I, J, D, P))
            added = added + (totals[k] + product(weigh(coupling, poses, BB, BI, BP), matrix, PRECISE),)
        totals = added
    for k in tl.static_range(BJ):
        tl.store(s + ((piece * B + b[:, None]) * J + first + k) * D + d, totals[k], vector(b, first + k, d, B, J, D))


@triton.jit(do_not_specialize=["B"])
@no_type_check
def agreement_kernel(
    u, W, v, a, B, I, J, M: tl.constexpr, D: tl.constexpr, P: tl.constexpr, PRECISE: tl.constexpr,
    BB: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write a[m, b, j, i] = v_mbj . W_ij u_bi."""
    b, n, d = samples(BB), tl.arange(0, BI * BP), tl.arange(0, BD)
    parts, i, p = tl.program_id(1) * BI + tl.arange(0, BI), tl.program_id(1) * BI + n // BP, n % BP
    poses = poses_of(u, b, i, p, B, I, P)
    for j in range(J):
        matrix = matrices(W, i, j, d, p, I, J, D, P)
        for m in tl.static_range(M):
            projected = product(vectors(v + m * B.to(tl.int64) * J * D, b, j, d, B, J, D), matrix, PRECISE)
            agreement = tl.sum(tl.reshape(projected * poses, [BB, BI, BP]), axis=2)
            place = a + ((m * B + b[:, None]) * J + j) * I + parts
            tl.store(place, agreement, (b < B)[:, None] & (parts < I))


@triton.jit(do_not_specialize=["B"])
@no_type_check
def pose_gradient_kernel(
    u, W, c, v, gu, B, I, J, M: tl.constexpr, D: tl.constexpr, P: tl.constexpr, PRECISE: tl.constexpr,
    BB: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Write gu = sum_mj c_mij W_ij^T v_mj."""
    b, n, d = samples(BB), tl.arange(0, BI * BP), tl.arange(0, BD)
    parts, i, p = tl.program_id(1) * BI + tl.arange(0, BI), tl.program_id(1) * BI + n // BP, n % BP
    total = tl.zeros([BB, BI * BP], tl.float32)
    for j in range(J):
        matrix = matrices(W, i, j, d, p, I, J, D, P)
        for m in tl.static_range(M):
            projected = product(vectors(v + m * B.to(tl.int64) * J * D, b, j, d, B, J, D), matrix, PRECISE)
            total += weigh(couplings(c + m * B.to(tl.int64) * J * I, b, j, parts, B, I, J), projected, BB, BI, BP)
    tl.store(gu + (b[:, None] * I + i) * P + p, total, (b < B)[:, None] & (i < I) & (p < P))


@triton.jit(do_not_specialize=["B"])
@no_type_check
def weight_gradient_kernel(
    u, W, c, v, gW, B, I, J, M: tl.constexpr, D: tl.constexpr, P: tl.constexpr, PRECISE: tl.constexpr,
    BB: tl.constexpr, BI: tl.constexpr, BD: tl.constexpr, BP: tl.constexpr,
):  # fmt: skip
    """Add sum_mb c_mij v_mj u_i^T to gW_ij."""
    n, d, j = tl.arange(0, BI * BP), tl.arange(0, BD), tl.program_id(0)
    parts, i, p = tl.program_id(1) * BI + tl.arange(0, BI), tl.program_id(1) * BI + n // BP, n % BP
    total = tl.trans(matrices(gW, i, j, d, p, I, J, D, P))
    for start in range(0, B, BB):
        b = start + tl.arange(0, BB).to(tl.int64)
        poses = poses_of(u, b, i, p, B, I, P)
        for m in tl.static_range(M):
            coupling = couplings(c + m * B.to(tl.int64) * J * I, b, j, parts, B, I, J)
            x = vectors(v + m * B.to(tl.int64) * J * D, b, j, d, B, J, D)
            total += product(tl.trans(weigh(coupling, poses, BB, BI, BP)), x, PRECISE)
    inside = (i < I)[:, None] & (p < P)[:, None] & (d < D)
    tl.store(gW + ((i[:, None] * J + j) * D + d) * P + p[:, None], total, inside)


@triton.jit
@no_type_check
def couple_kernel(
    c, g, prior, I, J: tl.constexpr, LEAKY: tl.constexpr, PRIOR: tl.constexpr, BACK: tl.constexpr,
    BI: tl.constexpr, BJ: tl.constexpr,
):  # fmt: skip
    """Turn logits into couplings c = softmax(logits + prior), and gradients of c into those of the logits, in place."""
    b, i, j = tl.program_id(0).to(tl.int64), tl.program_id(1) * BI + tl.arange(0, BI), tl.arange(0, BJ)
    place, inside = (b * J + j[:, None]) * I + i, (i < I) & (j < J)[:, None]
    logits = tl.load(c + place, inside, -float("inf"))
    if PRIOR:
        logits += tl.load(prior + i * J + j[:, None], inside, 0.0).to(tl.float32)
    largest = tl.max(logits, axis=0)
    if LEAKY:
        largest = tl.maximum(largest, 0.0)
    shares = tl.exp(logits - tl.where(i < I, largest, 0.0))
    whole = tl.sum(shares, axis=0)
    if LEAKY:
        whole += tl.exp(-largest)
    shares /= tl.where(i < I, whole, 1.0)
    tl.store(c + place, shares, inside)
    if BACK:
        gradient = tl.load(g + place, inside, 0.0)
        tl.store(g + place, shares * (gradient - tl.sum(shares * gradient, axis=0)), inside)


@triton.jit
@no_type_check
def samples(BB: tl.constexpr):
    """The samples of a program."""
    return tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)


@triton.jit
@no_type_check
def poses_of(u, b, i, p, B, I, P):
    """u[b, i, p], and zeros outside."""
    inside = (b < B)[:, None] & (i < I) & (p < P)
    return tl.load(u + (b[:, None] * I + i) * P + p, inside, 0.0).to(tl.float32)


@triton.jit
@no_type_check
def matrices(W, i, j, d, p, I, J, D, P):
    """W[i, j, d, p] of whole j, as d x n, and zeros outside."""
    inside = (i < I) & (p < P) & (d < D)[:, None] & (j < J)
    return tl.load(W + ((i * J + j) * D + d[:, None]) * P + p, inside, 0.0).to(tl.float32)


@triton.jit
@no_type_check
def vectors(v, b, j, d, B, J, D):
    """v[b, j, d] of whole j, and zeros outside."""
    return tl.load(v + (b[:, None] * J + j) * D + d, vector(b, j, d, B, J, D), 0.0).to(tl.float32)


@triton.jit
@no_type_check
def vector(b, j, d, B, J, D):
    """Whether there are such numbers."""
    return (b < B)[:, None] & (d < D) & (j < J)


@triton.jit
@no_type_check
def couplings(c, b, j, parts, B, I, J):
    """c[b, j, i] of whole j, and zeros outside."""
    return tl.load(c + (b[:, None] * J + j) * I + parts, (b < B)[:, None] & (parts < I) & (j < J), 0.0).to(tl.float32)


@triton.jit
@no_type_check
def weigh(coupling, x, BB: tl.constexpr, BI: tl.constexpr, BP: tl.constexpr):
    """c_i x_ip."""
    return tl.reshape(coupling[:, :, None] * tl.reshape(x, [BB, BI, BP]), [BB, BI * BP])


@triton.jit
@no_type_check
def product(x, y, PRECISE: tl.constexpr):
    """The matrix product by the tensor cores; in float32 but for the last bits, with each factor in two parts."""
    a, b = rounded(x), rounded(y)
    if not PRECISE:
        return tl.dot(a, b, input_precision="tf32")
    total = tl.dot(x - a, b, input_precision="tf32")
    total = tl.dot(a, y - b, total, input_precision="tf32")
    return tl.dot(a, b, total, input_precision="tf32")


@triton.jit
@no_type_check
def rounded(x):
    """x to the eleven bits of TF32, which tensor cores take as they are; what is left fits them, too."""
    return ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
