"""The loops of dynamic routing with 16 samples in the lanes of a vector; LLVM compiles them.

Layouts are those of `capsnet_dist.kernels.votes.llvm_lanes_loops`, which has what all routings need: V and s and their
gradients are g x jd x 16.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.loop import loop
from capsnet_dist.kernels.llvm.vectors import (
    add,
    constant,
    div,
    floor,
    fma,
    larger,
    load,
    mul,
    power_of_two,
    spread,
    store,
    sub,
)
from capsnet_dist.kernels.votes.llvm_lanes_loops import (
    BLOCK,
    add_weight_gradient,
    add_weighted,
    agree,
    load_poses,
    store_pose_gradient,
    vote,
)


@loop
@no_type_check
def total(u, W, prior, V, leaky, pieces, s, a, y, c):
    """Add sum_i c_ij u_hat_ij of the parts of each piece, to an s of its own."""
    for n, start, stop in pieces:
        for block in range(start, stop, BLOCK):
            for g in range(len(V)):
                for i in range(block, min(block + BLOCK, stop)):
                    load_poses(u, i, g, a, 0)
                    vote(a, 0, W, i, y)
                    couple(y, V, g, prior, i, leaky, c)
                    add_weighted(c, y, s[n], g)


@loop
@no_type_check
def gathered_gradient(u, W, prior, V, gs, leaky, pieces, gV, a, y, c, gb):
    """Add sum_i gb_ij u_hat_ij of the parts of each piece, to a gV of its own."""
    for n, start, stop in pieces:
        for block in range(start, stop, BLOCK):
            for g in range(len(V)):
                for i in range(block, min(block + BLOCK, stop)):
                    load_poses(u, i, g, a, 0)
                    vote(a, 0, W, i, y)
                    couple(y, V, g, prior, i, leaky, c)
                    couple_gradient(y, gs, g, c, gb)
                    add_weighted(gb, y, gV[n], g)


@loop
@no_type_check
def input_gradients(u, W, prior, V, gs, common, leaky, through, start, stop, gu, gW, gprior, a, y, c, gb, gy, ga):
    """Write those of the parts from start to stop; of V and gs, the groups of all iterations follow one another.

    As many groups at a time as `a` and `gy` have room for: then what they add to gW is summed over their samples.
    """
    groups, room = len(common), len(gy)
    for i in range(start, stop):
        for k in range(gW.shape[1]):
            for p in range(gW.shape[2]):
                gW[i, k, p] = np.float32(0)
        for j in range(len(c)):
            gprior[i, j] = np.float32(0)
        for first in range(0, groups, room):
            last = min(first + room, groups)
            for g in range(first, last):
                load_poses(u, i, g, a, g - first)
                vote(a, g - first, W, i, y)
                begin(common, g, gy, g - first)
                for t in range(g, len(V), groups):
                    couple(y, V, t, prior, i, leaky, c)
                    couple_gradient(y, gs, t, c, gb)
                    add_prior_gradient(gb, gprior, i)
                    add_vote_gradient(c, gs, gb, V, t, through, gy, g - first)
                store_pose_gradient(gy, g - first, W, i, gu, g, ga, len(c))
            add_weight_gradient(gy, a, i, last - first, gW)


@loop
@no_type_check
def couple(y, V, g, prior, i, leaky, c):
    """c = softmax(y . V + prior), where leaky over one more logit, zero."""
    agree(y, V, g, c)
    largest = constant(np.float32(0) if leaky else np.float32(-np.inf))
    for j in range(len(c)):
        logit = add(load(c, 16 * j), spread(prior, i * len(c) + j))
        store(c, 16 * j, logit)
        largest = larger(logit, largest)
    whole = exponential(sub(constant(np.float32(0)), largest)) if leaky else constant(np.float32(0))
    for j in range(len(c)):
        power = exponential(sub(load(c, 16 * j), largest))
        store(c, 16 * j, power)
        whole = add(whole, power)
    scale = div(constant(np.float32(1)), whole)
    for j in range(len(c)):
        store(c, 16 * j, mul(load(c, 16 * j), scale))


@loop
@no_type_check
def couple_gradient(y, gs, g, c, gb):
    """gb_j = c_j (gc_j - sum_k c_k gc_k) with gc_j = y_j . gs_j."""
    agree(y, gs, g, gb)
    mean = constant(np.float32(0))
    for j in range(len(c)):
        mean = fma(load(c, 16 * j), load(gb, 16 * j), mean)
    for j in range(len(c)):
        store(gb, 16 * j, mul(load(c, 16 * j), sub(load(gb, 16 * j), mean)))


@loop
@no_type_check
def begin(common, g, gy, n):
    """gy_j = g_j, the gradient that all votes for a whole have in common."""
    size = common.shape[1] * 16
    for k in range(0, size, 16):
        store(gy, n * size + k, load(common, g * size + k))


@loop
@no_type_check
def add_vote_gradient(c, gs, gb, V, t, through, gy, n):
    """gy_j += c_j gs_j + gb_j V_j."""
    dim, size = V.shape[1] // len(c), V.shape[1] * 16
    for j in range(len(c)):
        cj = load(c, 16 * j)
        gbj = load(gb, 16 * j) if through else constant(np.float32(0))
        for k in range(16 * j * dim, 16 * (j + 1) * dim, 16):
            both = fma(gbj, load(V, t * size + k), fma(cj, load(gs, t * size + k), load(gy, n * size + k)))
            store(gy, n * size + k, both)


@loop
@no_type_check
def add_prior_gradient(gb, gprior, i):
    """Add gb of all samples; those that are not there have none."""
    for j in range(len(gb)):
        total = np.float32(0)
        for s in range(16):
            total += gb[j, s]
        gprior[i, j] += total


@loop
@no_type_check
def exponential(x):
    """exp(x) for x <= 0, within 3 units in the last place: exp(x) = 2^n exp(r) (Moshier's Cephes, 1989, expf)."""
    x = larger(constant(np.float32(-87)), x)  # exp(-87) is the least that is not subnormal
    n = floor(fma(x, constant(np.float32(1.44269504)), constant(np.float32(0.5))))
    r = fma(n, constant(np.float32(-0.693359375)), x)  # ln 2 in two parts: Cody and Waite (1980)
    r = fma(n, constant(np.float32(2.12194440e-4)), r)
    y = constant(np.float32(1.9875691500e-4))
    y = fma(y, r, constant(np.float32(1.3981999507e-3)))
    y = fma(y, r, constant(np.float32(8.3334519073e-3)))
    y = fma(y, r, constant(np.float32(4.1665795894e-2)))
    y = fma(y, r, constant(np.float32(1.6666665459e-1)))
    y = fma(y, r, constant(np.float32(5.0000001201e-1)))
    y = add(fma(mul(y, r), r, r), constant(np.float32(1)))
    return mul(y, power_of_two(n))
