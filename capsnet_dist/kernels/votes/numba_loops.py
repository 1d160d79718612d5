"""The loops over votes that numba compiles: some of the samples, some of the parts.

It is one file, since numba's cache on the disk knows of changes only in the file of what it compiles.

Poses are u[b, i, r, p], with r rows that share a matrix; matrices are W[i, p, k], vectors, means and precisions v, m
and q[b, r, k], with k = (j d) all numbers of one row of the wholes. Samples come a few at a time: `a` holds their poses
(s r) x p, `y` their votes (s r) x k. Loops over k take few arrays each, or they would not be computed by vectors.
"""

# pyright: basic
# numba infers the types at the first call; it has no stubs, and wants plain functions, not checked ones.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.compile_numba import loop

ROWS = 16  # of all samples together: their votes fit the first cache, and what is read of a matrix serves them all


@loop
@no_type_check
def combine(u, W, c, pieces, s):
    """Add sum_i c_j y_j of some samples and parts."""
    a, y = room(u, W)
    each = np.empty(W.shape[2], u.dtype)
    num_rows = u.shape[2]
    step = len(y) // num_rows
    for piece, begin, end, start, stop in pieces:
        total = s[piece % len(s)]
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                load_poses(u, first, count, i, a)
                y[:] = 0
                multiply_add(a, W[i], y, count * num_rows)
                for n in range(count):
                    repeat(c[first + n, i], each)
                    for r in range(num_rows):
                        add_product(each, y[n * num_rows + r], total[first + n, r])


@loop
@no_type_check
def agreement(u, W, v, pieces, result):
    """Write sum_rd v_j y_j of some samples and parts."""
    a, y = room(u, W)
    e = np.empty(W.shape[2], u.dtype)
    num_rows = u.shape[2]
    step = len(y) // num_rows
    for _, begin, end, start, stop in pieces:
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                load_poses(u, first, count, i, a)
                y[:] = 0
                multiply_add(a, W[i], y, count * num_rows)
                for n in range(count):
                    e[:] = 0
                    for r in range(num_rows):
                        add_product(v[first + n, r], y[n * num_rows + r], e)
                    sum_numbers(e, result[first + n, i])


@loop
@no_type_check
def input_gradients(u, W, c, v, pieces, gu, gW):
    """Of some samples and parts, write sum_j c_j W_j^T v_j, and add sum_b c_j v_j u^T."""
    a, y = room(u, W)
    at = np.zeros((a.shape[1], len(a)), u.dtype)
    each = np.empty(W.shape[2], u.dtype)
    num_rows = u.shape[2]
    step = len(y) // num_rows
    for piece, begin, end, start, stop in pieces:
        own_gW = gW[piece % len(gW)]
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                load_poses(u, first, count, i, a)
                y[:] = 0
                for n in range(count):
                    repeat(c[first + n, i], each)
                    for r in range(num_rows):
                        add_product(each, v[first + n, r], y[n * num_rows + r])
                store_pose_gradient(y, W[i], i, first, count, gu)
                transpose(a, at)
                multiply_add(at, y, own_gW[i], len(at))


@loop
@no_type_check
def distances(u, W, m, q, pieces, D):
    """Write sum_rd q_j (y_j - m_j)^2 of some samples and parts."""
    a, y = room(u, W)
    e = np.empty(W.shape[2], u.dtype)
    step = len(y) // u.shape[2]
    for _, begin, end, start, stop in pieces:
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                differ(u, W, m, first, count, i, a, y)
                for s in range(count):
                    e[:] = 0
                    for r in range(u.shape[2]):
                        add_squares(q[first + s, r], y[s * u.shape[2] + r], e)
                    sum_numbers(e, D[first + s, i])


@loop
@no_type_check
def spread(u, W, c, m, pieces, S):
    """Add sum_i c_j (y_j - m_j)^2 of some samples and parts."""
    a, y = room(u, W)
    each = np.empty(W.shape[2], u.dtype)
    step = len(y) // u.shape[2]
    for piece, begin, end, start, stop in pieces:
        own_S = S[piece % len(S)]
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                differ(u, W, m, first, count, i, a, y)
                for s in range(count):
                    repeat(c[first + s, i], each)
                    for r in range(u.shape[2]):
                        add_squares(each, y[s * u.shape[2] + r], own_S[first + s, r])


@loop
@no_type_check
def gaussian_gradients(u, W, c, m, q, pieces, D, S, gm, gu, gW):
    """Derivatives of f = sum c_ij q_j (y_j - m_j)^2 from some samples and parts.

    Those by c, D, and by u, gu, are written; those by q, S, by m, gm, and by W, gW, are added.
    """
    a, y = room(u, W)
    at = np.zeros((a.shape[1], len(a)), u.dtype)
    each, e = np.empty(W.shape[2], u.dtype), np.empty(W.shape[2], u.dtype)
    num_rows = u.shape[2]
    step = len(y) // num_rows
    for piece, begin, end, start, stop in pieces:
        own_S, own_gm, own_gW = S[piece % len(S)], gm[piece % len(gm)], gW[piece % len(gW)]
        for first in range(begin, end, step):
            count = min(step, end - first)
            for i in range(start, stop):
                differ(u, W, m, first, count, i, a, y)
                for s in range(count):
                    repeat(c[first + s, i], each)
                    e[:] = 0
                    for r in range(num_rows):
                        x = y[s * num_rows + r]
                        add_squares(q[first + s, r], x, e)
                        add_squares(each, x, own_S[first + s, r])
                        weigh(each, q[first + s, r], x)
                        subtract(x, own_gm[first + s, r])
                    sum_numbers(e, D[first + s, i])
                store_pose_gradient(y, W[i], i, first, count, gu)
                transpose(a, at)
                multiply_add(at, y, own_gW[i], len(at))


@loop
@no_type_check
def room(u, W):
    """Room for the poses a and the votes y of as many samples as come at a time, in whole fours of rows."""
    num_rows = u.shape[2]
    rows = -(-max(1, ROWS // num_rows) * num_rows // 4) * 4
    return np.zeros((rows, W.shape[1]), u.dtype), np.zeros((rows, W.shape[2]), u.dtype)


@loop
@no_type_check
def differ(u, W, m, first, count, i, a, y):
    """The poses of part i as a, and its votes less the means as y; rows that are not there are zero."""
    load_poses(u, first, count, i, a)
    y[:] = 0
    num_rows = u.shape[2]
    for s in range(count):
        for r in range(num_rows):
            subtract(m[first + s, r], y[s * num_rows + r])
    multiply_add(a, W[i], y, count * num_rows)


@loop
@no_type_check
def load_poses(u, first, count, i, a):
    """The poses of part i as a; rows that are not there are zero."""
    num_rows = u.shape[2]
    a[:] = 0
    for s in range(count):
        for r in range(num_rows):
            for p in range(u.shape[3]):
                a[s * num_rows + r, p] = u[first + s, i, r, p]


@loop
@no_type_check
def multiply_add(a, x, y, rows):
    """y += a x in so many rows, two at a time, so that what is loaded of x serves both; columns of a come in fours."""
    for n in range(0, rows, 2):
        for q in range(0, a.shape[1], 4):
            a0, a1, a2, a3 = a[n, q], a[n, q + 1], a[n, q + 2], a[n, q + 3]
            b0, b1, b2, b3 = a[n + 1, q], a[n + 1, q + 1], a[n + 1, q + 2], a[n + 1, q + 3]
            for k in range(x.shape[1]):
                x0, x1, x2, x3 = x[q, k], x[q + 1, k], x[q + 2, k], x[q + 3, k]
                y[n, k] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                y[n + 1, k] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3


@loop
@no_type_check
def add_product(weight, x, total):
    """total += weight x."""
    for k in range(len(x)):
        total[k] += weight[k] * x[k]


@loop
@no_type_check
def add_squares(weight, x, total):
    """total += weight x^2."""
    for k in range(len(x)):
        total[k] += weight[k] * x[k] * x[k]


@loop
@no_type_check
def weigh(c, q, x):
    """x = 2 c q x."""
    for k in range(len(x)):
        x[k] *= 2 * c[k] * q[k]


@loop
@no_type_check
def subtract(x, total):
    """total -= x."""
    for k in range(len(x)):
        total[k] -= x[k]


@loop
@no_type_check
def repeat(c, each):
    """c_j for each number of whole j."""
    dim = len(each) // len(c)
    for j in range(len(c)):
        for d in range(dim):
            each[j * dim + d] = c[j]


@loop
@no_type_check
def sum_numbers(e, D):
    """The sum over the numbers of each whole."""
    dim = len(e) // len(D)
    for j in range(len(D)):
        total = e.dtype.type(0)
        for d in range(dim):
            total += e[j * dim + d]
        D[j] = total


@loop
@no_type_check
def transpose(a, at):
    """The transpose of a."""
    for n in range(len(a)):
        for p in range(a.shape[1]):
            at[p, n] = a[n, p]


@loop
@no_type_check
def store_pose_gradient(gy, w, i, first, count, gu):
    """gu = gy w^T, two rows and four numbers of a pose at a time."""
    zero = gy.dtype.type(0)
    num_rows = gu.shape[2]
    for n in range(0, count * num_rows, 2):
        for p in range(0, len(w), 4):
            a0, a1, a2, a3, b0, b1, b2, b3 = zero, zero, zero, zero, zero, zero, zero, zero
            for k in range(w.shape[1]):
                a0 += gy[n, k] * w[p, k]
                a1 += gy[n, k] * w[p + 1, k]
                a2 += gy[n, k] * w[p + 2, k]
                a3 += gy[n, k] * w[p + 3, k]
                b0 += gy[n + 1, k] * w[p, k]
                b1 += gy[n + 1, k] * w[p + 1, k]
                b2 += gy[n + 1, k] * w[p + 2, k]
                b3 += gy[n + 1, k] * w[p + 3, k]
            products = (a0, a1, a2, a3), (b0, b1, b2, b3)
            for both in range(min(2, count * num_rows - n)):
                s, r = divmod(n + both, num_rows)
                for number in range(min(4, gu.shape[3] - p)):
                    gu[first + s, i, r, p + number] = products[both][number]
