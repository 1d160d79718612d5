"""The loops of a convolution with few taps, straight from the images and with its ReLU; LLVM compiles them.

Samples of the images come last, c x h x w x b: a tap of eight samples is eight numbers side by side. What is computed
has positions first, y x x x b x n: 16 channels n are the lanes of a vector, eight samples its rows.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.loop import loop
from capsnet_dist.kernels.llvm.vectors import (
    add,
    add_rows,
    add_spread,
    constant,
    load,
    load_rows,
    no_rows,
    rectify_rows,
    store,
    store_rows,
    where_positive,
)


@loop
@no_type_check
def convolve(images, weight, bias, stride, start, stop, y):
    """y = relu(images * weight + bias), its rows from start to stop.

    The weight is n/32 x c x k x l x 32: what a tile needs lies side by side, 10 KB in the paper's network. A row for
    each tap with all channels would fall into a few sets of the cache only.
    """
    _, width, batch, outputs = y.shape
    for row in range(start, stop):
        for column in range(width):
            for n in range(0, outputs, 32):
                for b in range(0, batch, 8):
                    at = ((row * width + column) * batch + b) * outputs + n
                    convolve_tile(images, weight, bias, row * stride[0], column * stride[1], b, n, y, at)


@loop
@no_type_check
def convolve_tile(images, weight, bias, row, column, b, n, y, at):
    """32 channels of eight samples at a position, which stay in 16 registers."""
    channels, height, width, batch = images.shape
    _, _, rows, columns, _ = weight.shape
    outputs = len(bias)
    left, right = no_rows(), no_rows()
    for c in range(channels):
        for k in range(rows):
            pixels = ((c * height + row + k) * width + column) * batch + b
            taps = ((n // 32 * channels + c) * rows + k) * columns * 32
            for q in range(columns):
                left = add_spread(images, pixels + q * batch, 1, load(weight, taps + 32 * q), left)
                right = add_spread(images, pixels + q * batch, 1, load(weight, taps + 32 * q + 16), right)
    store_rows(y, at, outputs, rectify_rows(left, load(bias, n)))
    store_rows(y, at + 16, outputs, rectify_rows(right, load(bias, n + 16)))


@loop
@no_type_check
def weight_gradient(images, gy, y, stride, kernel, start, stop, gW, gb, a, g):
    """Add what the rows from start to stop give to gW, ckl x n, and gb.

    `a` has room for what the samples see at a position, ckl x b, where ckl is a multiple of eight, by zeros; `g` for
    the gradients there of 32 channels, b x 32.
    """
    _, width, batch, outputs = y.shape
    for row in range(start, stop):
        for column in range(width):
            gather(images, row * stride[0], column * stride[1], kernel, a)
            for n in range(0, outputs, 32):
                mask(gy, y, (row * width + column) * batch * outputs + n, outputs, n, g, gb)
                for k in range(0, len(a), 8):
                    add_taps(a, g, k, n, gW)


@loop
@no_type_check
def gather(images, row, column, kernel, a):
    """What all samples see at a position."""
    k = 0
    for c in range(len(images)):
        for i in range(kernel[0]):
            for j in range(kernel[1]):
                for b in range(a.shape[1]):
                    a[k, b] = images[c, row + i, column + j, b]
                k += 1


@loop
@no_type_check
def mask(gy, y, at, outputs, n, g, gb):
    """g = gy where y was not cut off, and its sum over the samples is added to gb."""
    left, right = constant(np.float32(0)), constant(np.float32(0))
    for b in range(len(g)):
        one = where_positive(load(y, at), load(gy, at))
        other = where_positive(load(y, at + 16), load(gy, at + 16))
        store(g, 32 * b, one)
        store(g, 32 * b + 16, other)
        left, right = add(left, one), add(right, other)
        at += outputs
    store(gb, n, add(load(gb, n), left))
    store(gb, n + 16, add(load(gb, n + 16), right))


@loop
@no_type_check
def add_taps(a, g, k, n, gW):
    """gW += a g of eight taps and 32 channels; the sum over the samples is made first, for smaller errors."""
    batch, outputs = a.shape[1], gW.shape[1]
    left, right = no_rows(), no_rows()
    for b in range(batch):
        left = add_spread(a, k * batch + b, batch, load(g, 32 * b), left)
        right = add_spread(a, k * batch + b, batch, load(g, 32 * b + 16), right)
    at = k * outputs + n
    store_rows(gW, at, outputs, add_rows(left, load_rows(gW, at, outputs)))
    store_rows(gW, at + 16, outputs, add_rows(right, load_rows(gW, at + 16, outputs)))
