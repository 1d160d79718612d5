"""The loops that squash capsules with 16 types in the lanes of a vector; LLVM compiles them.

S is the memory of the feature maps, flat: the numbers of type t at position p of sample b begin at b s_b + p s_p + t d.
Capsules are listed type by type, position by position: poses are b x n x d, lengths b x n. One sample comes after the
other, for then what is written, 36 KB in the paper's network, stays in the first cache until its lines are full. The
last 16 types may overlap those before; what is computed twice comes out the same.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.loop import loop
from capsnet_dist.kernels.llvm.vectors import (
    add,
    add_multiple,
    constant,
    div,
    dot_rows,
    load,
    load_turned,
    mul,
    no_rows,
    root,
    store,
    store_turned,
    sub,
)


@loop
@no_type_check
def squash(S, s_b, s_p, poses, lengths, positions, epsilon, tiny, start, stop, lanes):
    """Write v = |s|^2 / (1 + |s|^2) s / sqrt(|s|^2 + epsilon) and sqrt(|v|^2 + tiny), samples from start to stop."""
    count, d = poses.shape[1:]
    types = count // positions
    for b in range(start, stop):
        for p in range(positions):
            for first in range(0, types, 16):
                t = min(first, types - 16)
                s, n = b * s_b + p * s_p + t * d, t * positions + p
                squared = squared_lengths(S, s, d)
                scale = scales(squared, epsilon)
                for k in range(0, d, 8):
                    pose = add_multiple(scale, load_turned(S, s + k, d), no_rows())
                    store_turned(poses, (b * count + n) * d + k, positions * d, pose)
                store(lanes, 0, length(squared, scale, tiny))
                for lane in range(16):
                    lengths[b, n + lane * positions] = lanes[lane]


@loop
@no_type_check
def squash_gradient(S, s_b, s_p, gposes, glengths, gS, positions, epsilon, tiny, start, stop, lanes):
    """Write gs of the samples from start to stop."""
    count, d = gposes.shape[1:]
    types = count // positions
    for b in range(start, stop):
        for p in range(positions):
            for first in range(0, types, 16):
                t = min(first, types - 16)
                s, n = b * s_b + p * s_p + t * d, t * positions + p
                squared = squared_lengths(S, s, d)
                scale = scales(squared, epsilon)
                for lane in range(16):
                    lanes[lane] = glengths[b, n + lane * positions]
                # the gradient of v is g_v + by_length s: v is scale s, and its length that of s times the scale
                by_length = div(mul(load(lanes, 0), scale), length(squared, scale, tiny))
                product = mul(by_length, squared)
                for k in range(0, d, 8):
                    g = load_turned(gposes, (b * count + n) * d + k, positions * d)
                    product = dot_rows(load_turned(S, s + k, d), g, product)
                along = add(mul(slopes(squared, epsilon), add(product, product)), mul(scale, by_length))
                for k in range(0, d, 8):
                    g = load_turned(gposes, (b * count + n) * d + k, positions * d)
                    gs = add_multiple(scale, g, add_multiple(along, load_turned(S, s + k, d), no_rows()))
                    store_turned(gS, s + k, d, gs)


@loop
@no_type_check
def squared_lengths(S, s, d):
    """|s|^2 of 16 types."""
    squared = constant(np.float32(0))
    for k in range(0, d, 8):
        numbers = load_turned(S, s + k, d)
        squared = dot_rows(numbers, numbers, squared)
    return squared


@loop
@no_type_check
def scales(squared, epsilon):
    """By what poses are multiplied."""
    one = constant(np.float32(1))
    return div(div(squared, add(one, squared)), root(add(squared, constant(np.float32(epsilon)))))


@loop
@no_type_check
def slopes(squared, epsilon):
    """The derivative of the scale by the squared length."""
    one, padded = constant(np.float32(1)), add(squared, constant(np.float32(epsilon)))
    share = div(one, add(one, squared))
    half = mul(constant(np.float32(0.5)), div(squared, padded))
    return mul(div(share, root(padded)), sub(share, half))


@loop
@no_type_check
def length(squared, scale, tiny):
    """Of poses."""
    return root(add(mul(squared, mul(scale, scale)), constant(np.float32(tiny))))
