"""The loops over votes and Gaussian wholes with 16 samples in the lanes of a vector; LLVM compiles them.

Layouts are those of `capsnet_dist.kernels.votes.llvm_lanes_loops`: means m, precisions q and their gradients are
g x jd x 16, and `y` holds votes less means.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.loop import loop
from capsnet_dist.kernels.llvm.vectors import add, constant, fma, load, mul, store, sub
from capsnet_dist.kernels.votes.llvm_lanes_loops import (
    BLOCK,
    add_weight_gradient,
    load_couplings,
    load_poses,
    store_couplings,
    store_pose_gradient,
    vote,
)


@loop
@no_type_check
def distances(u, W, m, q, pieces, D, a, y, c):
    """Write sum_d q_jd (u_hat_ijd - m_jd)^2."""
    for _, begin, end, start, stop in pieces:
        for block in range(start, stop, BLOCK):
            for g in range(begin, end):
                for i in range(block, min(block + BLOCK, stop)):
                    differ(u, W, m, i, g, a, 0, y)
                    add_up(y, q, g, c)
                    store_couplings(c, i, g, D)


@loop
@no_type_check
def spread(u, W, C, m, pieces, S, a, y, c):
    """Add sum_i c_ij (u_hat_ijd - m_jd)^2."""
    for piece, begin, end, start, stop in pieces:
        own_S = S[piece % len(S)]
        for block in range(start, stop, BLOCK):
            for g in range(begin, end):
                for i in range(block, min(block + BLOCK, stop)):
                    differ(u, W, m, i, g, a, 0, y)
                    load_couplings(C, i, g, c)
                    add_squares(c, y, g, own_S)


@loop
@no_type_check
def gradients(u, W, C, m, q, pieces, D, S, gm, gu, gW, a, y, c, e, gy, ga):
    """Derivatives of f = sum c_ij q_jd (u_hat_ijd - m_jd)^2: those by c, D, and u are written, the others added.

    As many groups at a time as `a` and `gy` have room for: then what they add to gW is summed over their samples.
    """
    for piece, begin, end, start, stop in pieces:
        own_S, own_gm, own_gW = S[piece % len(S)], gm[piece % len(gm)], gW[piece % len(gW)]
        for first in range(begin, end, len(gy)):
            last = min(first + len(gy), end)
            for i in range(start, stop):
                for g in range(first, last):
                    differ(u, W, m, i, g, a, g - first, y)
                    load_couplings(C, i, g, c)
                    add_up(y, q, g, e)
                    store_couplings(e, i, g, D)
                    add_squares(c, y, g, own_S)
                    weigh(c, q, y, g, own_gm, gy, g - first)
                    store_pose_gradient(gy, g - first, W, i, gu, g, ga, len(c))
                add_weight_gradient(gy, a, i, last - first, own_gW)


@loop
@no_type_check
def differ(u, W, m, i, g, a, n, y):
    """The poses of part i as a[n], and y = u_hat_i - m."""
    load_poses(u, i, g, a, n)
    vote(a, n, W, i, y)
    at = g * 16 * len(y)
    for k in range(0, 16 * len(y), 16):
        store(y, k, sub(load(y, k), load(m, at + k)))


@loop
@no_type_check
def add_up(y, q, g, c):
    """c_j = sum_d q_jd y_jd^2."""
    dim, at = len(y) // len(c), g * 16 * len(y)
    for j in range(len(c)):
        even = odd = constant(np.float32(0))  # two sums, since each waits for the one before
        for k in range(16 * j * dim, 16 * (j + 1) * dim - 16, 32):
            x, z = load(y, k), load(y, k + 16)
            even = fma(load(q, at + k), mul(x, x), even)
            odd = fma(load(q, at + k + 16), mul(z, z), odd)
        if dim % 2:
            k = 16 * (j + 1) * dim - 16
            x = load(y, k)
            even = fma(load(q, at + k), mul(x, x), even)
        store(c, 16 * j, add(even, odd))


@loop
@no_type_check
def add_squares(c, y, g, S):
    """S_jd += c_j y_jd^2."""
    dim, at = len(y) // len(c), g * 16 * len(y)
    for j in range(len(c)):
        cj = load(c, 16 * j)
        for k in range(16 * j * dim, 16 * (j + 1) * dim, 16):
            x = load(y, k)
            store(S, at + k, fma(cj, mul(x, x), load(S, at + k)))


@loop
@no_type_check
def weigh(c, q, y, g, gm, gy, n):
    """gy = 2 c_j q_jd y_jd, the gradient of a vote, which is taken from that of its mean."""
    dim, at, to = len(y) // len(c), g * 16 * len(y), n * 16 * len(y)
    for j in range(len(c)):
        twice = add(load(c, 16 * j), load(c, 16 * j))
        for k in range(16 * j * dim, 16 * (j + 1) * dim, 16):
            x = mul(mul(twice, load(q, at + k)), load(y, k))
            store(gy, to + k, x)
            store(gm, at + k, sub(load(gm, at + k), x))
