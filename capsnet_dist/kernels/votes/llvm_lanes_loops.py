"""The loops over votes with 16 samples in the lanes of a vector; LLVM compiles them.

Samples are in groups of 16, of which the last is filled up with zeros: what belongs to wholes, such as v and s, is
g x jd x 16. Poses u stay b x i x p, and become `a`, p x 16, part by part. W is i x jd x p, with p a multiple of eight,
by zeros. Couplings C stay b x i x j. Of one part and one group, `y` holds the votes jd x 16 and `c` the couplings
j x 16. Ranges of groups and of parts are what a piece does.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.loop import loop
from capsnet_dist.kernels.llvm.vectors import (
    add,
    add_lanes,
    add_products,
    add_rows,
    add_spread,
    constant,
    dot,
    fma,
    load,
    load_rows,
    load_turned,
    mul,
    no_rows,
    store,
    store_rows,
    store_turned,
)

BLOCK = 32  # parts whose matrices, 160 KB on MNIST, stay in the second cache while the groups come to them


@loop
@no_type_check
def combine(u, W, C, pieces, s, a, y, c):
    """Add sum_i c_ij u_hat_ij."""
    for piece, begin, end, start, stop in pieces:
        total = s[piece % len(s)]
        for block in range(start, stop, BLOCK):
            for g in range(begin, end):
                for i in range(block, min(block + BLOCK, stop)):
                    load_poses(u, i, g, a, 0)
                    vote(a, 0, W, i, y)
                    load_couplings(C, i, g, c)
                    add_weighted(c, y, total, g)


@loop
@no_type_check
def agreement(u, W, v, pieces, A, a, y, c):
    """Write u_hat_ij . v_j."""
    for _, begin, end, start, stop in pieces:
        for block in range(start, stop, BLOCK):
            for g in range(begin, end):
                for i in range(block, min(block + BLOCK, stop)):
                    load_poses(u, i, g, a, 0)
                    vote(a, 0, W, i, y)
                    agree(y, v, g, c)
                    store_couplings(c, i, g, A)


@loop
@no_type_check
def input_gradients(u, W, C, v, pieces, gu, gW, a, gy, c, ga):
    """Write sum_j c_ij W_ij^T v_j, and add sum_b c_ij v_j u_i^T.

    As many groups at a time as `a` and `gy` have room for: then what they add to gW is summed over their samples.
    """
    for piece, begin, end, start, stop in pieces:
        own_gW = gW[piece % len(gW)]
        for first in range(begin, end, len(gy)):
            last = min(first + len(gy), end)
            for i in range(start, stop):
                for g in range(first, last):
                    load_poses(u, i, g, a, g - first)
                    load_couplings(C, i, g, c)
                    weigh(c, v, g, gy, g - first)
                    store_pose_gradient(gy, g - first, W, i, gu, g, ga, len(c))
                add_weight_gradient(gy, a, i, last - first, own_gW)


@loop
@no_type_check
def load_couplings(C, i, g, c):
    """The couplings of part i as c, j x 16, with zeros for samples that are not there; the last eight may overlap."""
    parts, wholes = C.shape[1:]
    count = min(16, len(C) - 16 * g)
    if count == 16 and wholes >= 8:
        for j in range(0, wholes, 8):
            k = min(j, wholes - 8)
            store_rows(c, 16 * k, 16, load_turned(C, (16 * g * parts + i) * wholes + k, parts * wholes))
        return
    clear(c, 0, 16 * wholes)
    for s in range(count):
        for j in range(wholes):
            c[j, s] = C[16 * g + s, i, j]


@loop
@no_type_check
def store_couplings(c, i, g, C):
    """The inverse."""
    parts, wholes = C.shape[1:]
    count = min(16, len(C) - 16 * g)
    if count == 16 and wholes >= 8:
        for j in range(0, wholes, 8):
            k = min(j, wholes - 8)
            store_turned(C, (16 * g * parts + i) * wholes + k, parts * wholes, load_rows(c, 16 * k, 16))
        return
    for s in range(count):
        for j in range(wholes):
            C[16 * g + s, i, j] = c[j, s]


@loop
@no_type_check
def clear(x, n, length):
    """Zeros in x from n on, a multiple of 16 of them."""
    for k in range(n, n + length, 16):
        store(x, k, constant(np.float32(0)))


@loop
@no_type_check
def weigh(c, v, g, gy, n):
    """gy_j = c_j v_j."""
    size = v.shape[1] * 16
    dim = v.shape[1] // len(c)
    for j in range(len(c)):
        cj = load(c, 16 * j)
        for k in range(16 * j * dim, 16 * (j + 1) * dim, 16):
            store(gy, n * size + k, mul(cj, load(v, g * size + k)))


@loop
@no_type_check
def load_poses(u, i, g, a, n):
    """The poses of part i as a[n], p x 16, with zeros for samples and numbers that are not there."""
    parts, numbers = u.shape[1:]
    count = min(16, len(u) - 16 * g)
    if count == 16 and numbers % 8 == 0:
        for p in range(0, numbers, 8):
            samples = load_turned(u, (16 * g * parts + i) * numbers + p, parts * numbers)
            store_rows(a, 16 * (n * numbers + p), 16, samples)
        return
    clear(a, 16 * n * a.shape[1], 16 * a.shape[1])
    for s in range(count):
        for p in range(numbers):
            a[n, p, s] = u[16 * g + s, i, p]


@loop
@no_type_check
def vote(a, n, W, i, y):
    """y = W_i u_i, for eight numbers of the poses at a time."""
    columns, numbers = W.shape[1:]
    for p in range(0, numbers, 8):
        poses = load_rows(a, 16 * (n * numbers + p), 16)
        w = i * columns * numbers + p
        for k in range(columns):
            before = load(y, 16 * k) if p else constant(np.float32(0))
            store(y, 16 * k, dot(W, w + k * numbers, poses, before))


@loop
@no_type_check
def agree(y, v, g, c):
    """c_j = y_j . v_j."""
    dim, at = len(y) // len(c), g * 16 * len(y)
    for j in range(len(c)):
        even = odd = constant(np.float32(0))  # two sums, since each waits for the one before
        for k in range(j * dim, j * dim + dim - 1, 2):
            even = fma(load(y, 16 * k), load(v, at + 16 * k), even)
            odd = fma(load(y, 16 * k + 16), load(v, at + 16 * k + 16), odd)
        if dim % 2:
            k = j * dim + dim - 1
            even = fma(load(y, 16 * k), load(v, at + 16 * k), even)
        store(c, 16 * j, add(even, odd))


@loop
@no_type_check
def add_weighted(c, y, s, g):
    """s_j += c_j y_j."""
    dim, at = len(y) // len(c), g * 16 * len(y)
    for j in range(len(c)):
        cj = load(c, 16 * j)
        for k in range(j * dim, j * dim + dim):
            store(s, at + 16 * k, fma(cj, load(y, 16 * k), load(s, at + 16 * k)))


@loop
@no_type_check
def store_pose_gradient(gy, n, W, i, gu, g, ga, wholes):
    """gu = W^T gy, eight numbers of the poses at a time; whole by whole, for one long sum would round twice as much."""
    columns, numbers = W.shape[1:]
    dim, count = columns // wholes, min(16, len(gu) - 16 * g)
    for p in range(0, numbers, 8):
        sums = no_rows()
        w = i * columns * numbers + p
        for j in range(0, columns, dim):
            of_whole = no_rows()
            for k in range(j, j + dim):
                of_whole = add_spread(W, w + k * numbers, 1, load(gy, 16 * (n * columns + k)), of_whole)
            sums = add_rows(sums, of_whole)
        if count == 16 and gu.shape[2] % 8 == 0:
            parts = gu.shape[1]
            store_turned(gu, (16 * g * parts + i) * numbers + p, parts * numbers, sums)
            continue
        store_rows(ga, 0, 16, sums)
        for s in range(count):
            for q in range(min(8, gu.shape[2] - p)):
                gu[16 * g + s, i, p + q] = ga[q, s]


@loop
@no_type_check
def add_weight_gradient(gy, a, i, groups, gW):
    """gW += gy u^T, summed over the samples of some groups."""
    columns, numbers = gW.shape[1:]
    for p in range(0, numbers, 8):
        for k in range(columns):
            sums = no_rows()
            for n in range(groups):
                sums = add_products(a, 16 * (n * numbers + p), 16, load(gy, 16 * (n * columns + k)), sums)
            add_lanes(gW, (i * columns + k) * numbers + p, sums)
