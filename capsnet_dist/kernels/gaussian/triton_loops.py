"""The kernels that compare votes with the means of Gaussian wholes, in Triton.

A program holds the votes y[s, j, d] of one part at a time for some samples, in registers. Sums are in float32, whatever
the inputs are; each sum over parts or samples is one program's, so that nothing depends on who comes first.
"""

# pyright: basic
# ruff: noqa: E741
# Triton compiles these functions for the types of a call; I, the number of parts, is named as in the formulas.

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def distances_kernel(u, W, m, q, D_, B, I, J, D, P, R, BB: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr):
    """Write sum_rd q_j (y_j - m_j)^2 of one part, of which each sample has R rows in u, m and q."""
    i, b, j, d = tl.program_id(1), samples(BB), tl.arange(0, BJ), tl.arange(0, BD)
    distance = tl.zeros([BB, BJ], tl.float32)
    for r in range(R):
        x = differences(u, W, m, i, b * R + r, j, d, B * R, I, J, D, P, BB, BJ, BD)
        distance += tl.sum(vectors(q, b * R + r, j, d, B * R, J, D) * x * x, axis=2)
    tl.store(D_ + (b[:, None] * I + i) * J + j, distance, (b < B)[:, None] & (j < J))


@triton.jit
@no_type_check
def moments_kernel(
    u, W, c, m, first, second, B, I, J, D, P, R, N, BB: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr
):
    """Write sum_i c_ij (y_j - m_j), and of its square, of one of N pieces of the parts; B counts all rows here."""
    n, b, j, d = tl.program_id(1), samples(BB), tl.arange(0, BJ), tl.arange(0, BD)
    mean, square = tl.zeros([BB, BJ, BD], tl.float32), tl.zeros([BB, BJ, BD], tl.float32)
    for i in range(I * n // N, I * (n + 1) // N):
        x = differences(u, W, m, i, b, j, d, B, I, J, D, P, BB, BJ, BD)
        weighed = couplings(c, i, b, j, B, I, J, R)[:, :, None] * x
        mean += weighed
        square += weighed * x
    store_vectors(first + n * B.to(tl.int64) * J * D, mean, b, j, d, B, J, D)
    store_vectors(second + n * B.to(tl.int64) * J * D, square, b, j, d, B, J, D)


@triton.jit
@no_type_check
def gaussian_gradients_kernel(
    u, W, c, m, q, gu, gW, B, I, J, D, P, R, BB: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr
):
    """Write gu and gW of one part, with gy_j = 2 c_j q_j (y_j - m_j); B counts all rows here."""
    i, j, d = tl.program_id(0).to(tl.int64), tl.arange(0, BJ), tl.arange(0, BD)
    for first in range(0, B, BB):
        b = first + tl.arange(0, BB).to(tl.int64)
        x = differences(u, W, m, i, b, j, d, B, I, J, D, P, BB, BJ, BD)
        gy = 2 * couplings(c, i, b, j, B, I, J, R)[:, :, None] * vectors(q, b, j, d, B, J, D) * x
        spread(u, W, gy, gu, gW, i, b, j, d, B, I, J, D, P)


@triton.jit
@no_type_check
def samples(BB: tl.constexpr):
    """The samples of a program."""
    return tl.program_id(0).to(tl.int64) * BB + tl.arange(0, BB)


@triton.jit
@no_type_check
def votes(u, W, i, b, j, d, B, I, J, D, P, BB: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr):
    """y_j = W_ij u_i; zeros where there is no such sample, whole or number."""
    y = tl.zeros([BB, BJ, BD], tl.float32)
    for p in range(P):
        poses = tl.load(u + (b * I + i) * P + p, b < B, 0.0).to(tl.float32)
        y += poses[:, None, None] * matrices(W, i, p, j, d, J, D, P)[None, :, :]
    return y


@triton.jit
@no_type_check
def differences(u, W, m, i, b, j, d, B, I, J, D, P, BB: tl.constexpr, BJ: tl.constexpr, BD: tl.constexpr):
    """y_j - m_j."""
    return votes(u, W, i, b, j, d, B, I, J, D, P, BB, BJ, BD) - vectors(m, b, j, d, B, J, D)


@triton.jit
@no_type_check
def couplings(c, i, b, j, B, I, J, R):
    """c_ij of the samples that these rows are of, R each; zeros outside."""
    return tl.load(c + ((b // R)[:, None] * I + i) * J + j, (b < B)[:, None] & (j < J), 0.0).to(tl.float32)


@triton.jit
@no_type_check
def matrices(W, i, p, j, d, J, D, P):
    """Column p of all matrices of part i."""
    inside = (j < J)[:, None] & (d < D)
    return tl.load(W + ((i * J + j[:, None]) * D + d) * P + p, inside, 0.0).to(tl.float32)


@triton.jit
@no_type_check
def vectors(v, b, j, d, B, J, D):
    """v[b, j, d], and zeros outside."""
    inside = (b < B)[:, None, None] & (j < J)[None, :, None] & (d < D)
    return tl.load(v + (b[:, None, None] * J + j[None, :, None]) * D + d, inside, 0.0).to(tl.float32)


@triton.jit
@no_type_check
def store_vectors(v, x, b, j, d, B, J, D):
    """v[b, j, d] = x."""
    inside = (b < B)[:, None, None] & (j < J)[None, :, None] & (d < D)
    tl.store(v + (b[:, None, None] * J + j[None, :, None]) * D + d, x, inside)


@triton.jit
@no_type_check
def spread(u, W, gy, gu, gW, i, b, j, d, B, I, J, D, P):
    """Write gu = sum_j W_j^T gy_j, and add sum_b gy_j u^T to gW, which no other program touches."""
    inside = (j < J)[:, None] & (d < D)
    for p in range(P):
        poses = tl.load(u + (b * I + i) * P + p, b < B, 0.0).to(tl.float32)
        projected = tl.sum(tl.sum(gy * matrices(W, i, p, j, d, J, D, P)[None, :, :], axis=2), axis=1)
        tl.store(gu + (b * I + i) * P + p, projected, b < B)
        place = gW + ((i * J + j[:, None]) * D + d) * P + p
        tl.store(place, tl.load(place, inside, 0.0) + tl.sum(poses[:, None, None] * gy, axis=0), inside)
    tl.debug_barrier()
