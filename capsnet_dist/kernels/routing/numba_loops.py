"""The loops of dynamic routing that numba compiles: some of the parts, all samples.

It is one file, since numba's cache on the disk knows of changes only in the file of what it compiles.

Samples come a few at a time: `a` holds their poses s x p, `y` their votes s x jd, `w` the matrix p x jd of one part.
Rows and columns are filled up with zeros where that spares a loop its rest.
"""

# pyright: basic
# numba infers the types at the first call; it has no stubs, and wants plain functions, not checked ones.

import math
from typing import no_type_check

import numpy as np
from numba import types
from numba.extending import overload

from capsnet_dist.kernels.compile_numba import loop

SAMPLES = 16  # at a time: their votes are 10 KB on MNIST, a third of the first cache


@loop
@no_type_check
def total(u, W, prior, V, leaky, pieces, s):
    """Add sum_i c_ij u_hat_ij of the parts of each piece, to an s of its own."""
    a, w, y, c = tiles(u, W)
    for piece, start, stop in pieces:
        for i in range(start, stop):
            load_weight(W, i, w)
            for first in range(0, len(u), SAMPLES):
                count = load_poses(u, i, first, a)
                multiply(a, w, y, count)
                couple(y, V, prior[i], leaky, first, count, c)
                add(c, y, s[piece], first, count)


@loop
@no_type_check
def gathered_gradient(u, W, prior, V, gs, leaky, pieces, gV):
    """Add sum_i gb_ij u_hat_ij of the parts of each piece, to a gV of its own."""
    a, w, y, c = tiles(u, W)
    gb = np.empty_like(c)
    for piece, start, stop in pieces:
        for i in range(start, stop):
            load_weight(W, i, w)
            for first in range(0, len(u), SAMPLES):
                count = load_poses(u, i, first, a)
                multiply(a, w, y, count)
                couple(y, V, prior[i], leaky, first, count, c)
                couple_gradient(y, gs, c, first, count, gb)
                add(gb, y, gV[piece], first, count)


@loop
@no_type_check
def input_gradients(u, W, prior, V, gs, common, leaky, through, start, stop, gu, gW, gprior):
    """Write those of the parts from start to stop."""
    a, w, y, _ = tiles(u, W)
    at, gw, gy = np.zeros((len(w), SAMPLES), u.dtype), np.empty_like(w), np.zeros_like(y)
    c = np.empty((len(V), SAMPLES, W.shape[1] + 1), u.dtype)
    gb = np.empty_like(c)
    for i in range(start, stop):
        load_weight(W, i, w)
        gw[:] = 0
        gprior[i] = 0
        for first in range(0, len(u), SAMPLES):
            count = load_poses(u, i, first, a)
            multiply(a, w, y, count)
            for t in range(len(V)):
                couple(y, V[t], prior[i], leaky, first, count, c[t])
                couple_gradient(y, gs[t], c[t], first, count, gb[t])
                add_prior_gradient(gb[t], count, gprior[i])
            vote_gradient(V, gs, common, c, gb, through, first, count, gy)
            store_pose_gradient(gy, w, i, first, count, gu)
            transpose(a, count, at)
            multiply_add(at, gy, gw, len(at), count)
        store_weight_gradient(gw, i, gW)


@loop
@no_type_check
def tiles(u, W):
    """Room for a, w, y and couplings."""
    rows, columns = -(-u.shape[2] // 4) * 4, W.shape[1] * W.shape[2]
    a, w = np.zeros((SAMPLES, rows), u.dtype), np.zeros((rows, columns), u.dtype)
    return a, w, np.zeros((SAMPLES, columns), u.dtype), np.empty((SAMPLES, W.shape[1] + 1), u.dtype)


@loop
@no_type_check
def load_weight(W, i, w):
    """The matrices of part i as w."""
    num_wholes, dim, part_dim = W.shape[1:]
    for j in range(num_wholes):
        for d in range(dim):
            for p in range(part_dim):
                w[p, j * dim + d] = W[i, j, d, p]


@loop
@no_type_check
def store_weight_gradient(gw, i, gW):
    """The gradient of w as that of the matrices of part i."""
    num_wholes, dim, part_dim = gW.shape[1:]
    for j in range(num_wholes):
        for d in range(dim):
            for p in range(part_dim):
                gW[i, j, d, p] = gw[p, j * dim + d]


@loop
@no_type_check
def load_poses(u, i, first, a):
    """The poses of part i as a; how many samples they are."""
    count = min(SAMPLES, len(u) - first)
    for s in range(count):
        for p in range(u.shape[2]):
            a[s, p] = u[first + s, i, p]
    return count


@loop
@no_type_check
def transpose(a, count, at):
    """The transpose of a, with zeros for samples that are not there."""
    for p in range(len(at)):
        for s in range(SAMPLES):
            at[p, s] = a[s, p] if s < count else 0


@loop
@no_type_check
def multiply(a, w, y, count):
    """y = a w."""
    y[:] = 0
    multiply_add(a, w, y, count, a.shape[1])


@loop
@no_type_check
def multiply_add(a, x, y, rows, depth):
    """y += a x, two rows at a time, so that what is loaded of x serves both."""
    for n in range(0, rows, 2):
        for q in range(0, depth, 4):
            a0, a1, a2, a3 = a[n, q], a[n, q + 1], a[n, q + 2], a[n, q + 3]
            b0, b1, b2, b3 = a[n + 1, q], a[n + 1, q + 1], a[n + 1, q + 2], a[n + 1, q + 3]
            for k in range(x.shape[1]):
                x0, x1, x2, x3 = x[q, k], x[q + 1, k], x[q + 2, k], x[q + 3, k]
                y[n, k] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                y[n + 1, k] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


@loop
@no_type_check
def agree(y, v, first, count, a):
    """a_sj = y_sj . v_sj."""
    num_wholes, dim = v.shape[1:]
    for s in range(count):
        for j in range(num_wholes):
            product = y.dtype.type(0)
            for d in range(dim):
                product += y[s, j * dim + d] * v[first + s, j, d]
            a[s, j] = product


@loop
@no_type_check
def couple(y, V, prior, leaky, first, count, c):
    """c_s = softmax(y_s . V_s + prior); one more column is for none of the wholes."""
    num_wholes = len(prior)
    agree(y, V, first, count, c)
    for s in range(count):
        c[s, num_wholes] = 0 if leaky else -np.inf
        largest = c[s, num_wholes]
        for j in range(num_wholes):
            c[s, j] += prior[j]
            largest = max(largest, c[s, j])
        for j in range(num_wholes + 1):
            c[s, j] -= largest
    logits = c.reshape(-1)
    for n in range(count * (num_wholes + 1)):
        logits[n] = exponential(logits[n])
    for s in range(count):
        whole = c[s].sum()
        for j in range(num_wholes):
            c[s, j] /= whole


@loop
@no_type_check
def couple_gradient(y, gs, c, first, count, gb):
    """gb_j = c_j (gc_j - sum_k c_k gc_k) with gc_j = y_j . gs_j."""
    num_wholes = gs.shape[1]
    agree(y, gs, first, count, gb)
    for s in range(count):
        mean = y.dtype.type(0)
        for j in range(num_wholes):
            mean += c[s, j] * gb[s, j]
        for j in range(num_wholes):
            gb[s, j] = c[s, j] * (gb[s, j] - mean)


@loop
@no_type_check
def add(c, y, s, first, count):
    """s_j += c_j y_j."""
    num_wholes, dim = s.shape[1:]
    for n in range(count):
        for j in range(num_wholes):
            for d in range(dim):
                s[first + n, j, d] += c[n, j] * y[n, j * dim + d]


@loop
@no_type_check
def add_prior_gradient(gb, count, gprior):
    """Add gb of some samples."""
    for s in range(count):
        for j in range(len(gprior)):
            gprior[j] += gb[s, j]


@loop
@no_type_check
def vote_gradient(V, gs, common, c, gb, through, first, count, gy):
    """gy_j = g_j + sum_t (c_j gs_j + gb_j V_j)."""
    num_wholes, dim = common.shape[1:]
    for s in range(count):
        for j in range(num_wholes):
            for d in range(dim):
                gy[s, j * dim + d] = common[first + s, j, d]
    for t in range(len(V)):
        weigh(c[t], gs[t], gb[t], V[t], through, first, count, gy)


@loop
@no_type_check
def weigh(c, gs, gb, V, through, first, count, gy):
    """gy_j += c_j gs_j + gb_j V_j."""
    num_wholes, dim = V.shape[1:]
    for s in range(count):
        for j in range(num_wholes):
            cj, gbj = c[s, j], gb[s, j] if through else gb.dtype.type(0)
            for d in range(dim):
                gy[s, j * dim + d] += cj * gs[first + s, j, d] + gbj * V[first + s, j, d]


@loop
@no_type_check
def store_pose_gradient(gy, w, i, first, count, gu):
    """gu = gy w^T, two samples and four numbers of a pose at a time."""
    zero = gy.dtype.type(0)
    for s in range(0, count, 2):
        for q in range(0, len(w), 4):
            a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
            for k in range(w.shape[1]):
                a0 += gy[s, k] * w[q, k]
                a1 += gy[s, k] * w[q + 1, k]
                a2 += gy[s, k] * w[q + 2, k]
                a3 += gy[s, k] * w[q + 3, k]
                b0 += gy[s + 1, k] * w[q, k]
                b1 += gy[s + 1, k] * w[q + 1, k]
                b2 += gy[s + 1, k] * w[q + 2, k]
                b3 += gy[s + 1, k] * w[q + 3, k]
            products = (a0, a1, a2, a3), (b0, b1, b2, b3)
            for n in range(min(2, count - s)):
                for p in range(min(4, gu.shape[2] - q)):
                    gu[first + s + n, i, q + p] = products[n][p]


@no_type_check
def exponential(x):
    """exp(x) for x <= 0."""
    return math.exp(x)


@overload(exponential)
@no_type_check
def compile_exponential(x):
    """In float32 without a call, so that several are computed at once; within 3 units in the last place."""
    if x != types.float32:
        return lambda x: math.exp(x)

    def fast(x):
        x = max(x, np.float32(-87))  # exp(-87) is the least that is not subnormal
        n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))  # exp(x) = 2^n exp(r)
        r = x - n * np.float32(0.693359375) - n * np.float32(-2.12194440e-4)  # ln 2 in two parts: Cody and Waite (1980)
        y = np.float32(1.9875691500e-4)  # the polynomial of expf in Cephes (Moshier, 1989)
        y = y * r + np.float32(1.3981999507e-3)
        y = y * r + np.float32(8.3334519073e-3)
        y = y * r + np.float32(4.1665795894e-2)
        y = y * r + np.float32(1.6666665459e-1)
        y = y * r + np.float32(5.0000001201e-1)
        y = y * r * r + r + np.float32(1)
        return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)

    return fast
