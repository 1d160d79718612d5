"""The products of the bilinear convolution in panels, with the transforms around them; LLVM compiles them.

One or two panels of the result at a time, from the weight to the result. Arrays are flat: `X` and `D` are factors of
inputs and outputs, of one product after the other, `W` panels of the weight, tap after tap. `M` has the matrices of all
transforms; `panels` says what the rows of integers that describe a transform or a phase are. An argument in lower case
with an axis is how far it is from one to the next: `x_m`, `w_y`.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

from capsnet_dist.kernels.convolution.llvm_combine_loops import combine
from capsnet_dist.kernels.convolution.llvm_panel_products_loops import product, product_turned
from capsnet_dist.kernels.convolution.panels import (
    DEPTH,
    DOUBLE,
    GROUP,
    HEIGHT,
    INPUTS,
    KNOWN,
    PAD,
    PAIRS,
    REAL,
    ROW_MATRIX,
    SINGLE,
    STEP,
    TAPS,
    WIDTH,
)
from capsnet_dist.kernels.llvm.loop import loop_apart


@loop_apart
@no_type_check
def convolve(X, phases, M, taps, outputs, W, w_y, w_x, F, f, f_panel, channels, panels, samples, P, values, factors, V):
    """V = values of the outputs, of some panels of them, from the weight W of these, or its known factors F.

    `P`, `values` and `factors` are room for products, and for values and factors of W, at a point of the rows.
    """
    points = outputs[REAL] + outputs[PAIRS]
    for point in range(points):
        for phase in range(len(phases)):
            of, t = phases[phase], taps[phase]
            at = point - points + t[REAL] + t[PAIRS]
            if at >= 0:  # short phases have the last points, and the last products at each
                x, p = of[INPUTS] + before(t, at) * of[STEP], number(outputs, point) - number(t, at)
                add, some = phase > 0, number(t, at)
                if len(F) > 0:
                    w = f + of[KNOWN] + before(t, at) * 32 * channels
                    multiply_known(X, x, of[STEP], samples, F, w, f_panel, channels, panels, some, P, p, add)
                else:
                    of_w = W, of[TAPS], w_y, w_x, channels, panels
                    multiply(X, x, of[STEP], samples, of_w, M, t, at, P, p, add, values, factors)
        add_up(P, panels * samples, M, outputs, point, V)


@loop_apart
@no_type_check
def input_gradient(D, d_m, of, M, taps, inputs, outputs, W, w_y, w_x, channels, panels, samples, P, values, factors, V):
    """V = values of the inputs of a phase, of some panels of them, from the weight W of these."""
    points, missing = taps[REAL] + taps[PAIRS], outputs[REAL] + outputs[PAIRS] - taps[REAL] - taps[PAIRS]
    for at in range(points):
        d = (before(outputs, at + missing + 1) - number(taps, at)) * d_m
        of_w = W, of[TAPS], w_y, w_x, channels, panels
        multiply(D, d, d_m, samples, of_w, M, taps, at, P, 0, False, values, factors)
        add_up(P, panels * samples, M, inputs, at, V)


@loop_apart
@no_type_check
def weight_gradient(D, d_m, X, of, panel, M, taps, outputs, W, w_y, w_x, channels, panels, samples, P, V):
    """W = the gradient of the taps of a phase, of some panels of inputs, for 128 outputs at a time."""
    points, missing = taps[REAL] + taps[PAIRS], outputs[REAL] + outputs[PAIRS] - taps[REAL] - taps[PAIRS]
    height, width, n = taps[HEIGHT], taps[WIDTH], taps[REAL] + 2 * taps[PAIRS]
    rows = taps[ROW_MATRIX]
    for c in range(0, channels, DEPTH):
        some = min(DEPTH, channels - c)
        step = 32 * panels * some + PAD
        for at in range(points):
            x = of[INPUTS] + before(taps, at) * of[STEP] + panel * 32 * samples
            d = (before(outputs, at + missing + 1) - number(taps, at)) * d_m + c * samples
            for m in range(number(taps, at)):
                product_turned(D, d, d + d_m, X, x, x + of[STEP], panels, P, m * step, samples, some)
                d, x = d + d_m, x + of[STEP]
            add_up(P, panels * some, M, taps, at, V)
        for column in range(width):
            for p in range(panels):
                v, w = column * step + p * 32 * some, of[TAPS] + column * w_x + (p * channels + c) * 32
                combine(M, rows, 1, height, V, v, width * step, W, w, w_y, height, n, 32 * some, False)


@loop_apart
@no_type_check
def known_factors(W, of, w_y, w_x, channels, M, t, F, f, values):
    """F = factors of a panel W of the weight, of a phase, at all points: in the order in which products take them."""
    for point in range(t[REAL] + t[PAIRS]):
        _, count, matrix = at_point(t, point)
        width = count * t[WIDTH]
        for c in range(0, channels, DEPTH):
            depth = min(DEPTH, channels - c)
            step = tap_values((W, of[TAPS], w_y, w_x, channels, 1), c, depth, M, t, point, values)
            combine(M, matrix, width, 1, values, 0, step, F, f, 32 * depth, number(t, point), width, 32 * depth, False)
            f += number(t, point) * 32 * depth


@loop_apart
@no_type_check
def multiply_known(X, x, x_m, samples, F, f, f_panel, channels, panels, number, P, p, add):
    """P (+)= X times known factors."""
    for c in range(0, channels, DEPTH):
        depth = min(DEPTH, channels - c)
        for m in range(number):
            to = (p + m) * (32 * panels * samples + PAD)
            product(X, x + m * x_m + c * samples, F, f, f_panel, panels, P, to, samples, depth, add or c > 0)
            f += 32 * depth


@loop_apart
@no_type_check
def multiply(X, x, x_m, samples, of_w, M, t, point, P, p, add, values, factors):
    """P (+)= X times the factors of W at a point of the rows, 128 channels at a time."""
    _, count, matrix = at_point(t, point)
    _, _, _, _, channels, panels = of_w
    width = count * t[WIDTH]
    for c in range(0, channels, DEPTH):
        depth = min(DEPTH, channels - c)
        step = tap_values(of_w, c, depth, M, t, point, values)
        for first in range(0, number(t, point), GROUP):
            rows, some = matrix + first * width, min(GROUP, number(t, point) - first)
            combine(M, rows, width, 1, values, 0, step, factors, 0, step, some, width, step - PAD, False)
            for m in range(some):
                from_, to = x + (first + m) * x_m + c * samples, (p + first + m) * (32 * panels * samples + PAD)
                product(X, from_, factors, m * step, 32 * depth, panels, P, to, samples, depth, add or c > 0)


@loop_apart
@no_type_check
def tap_values(of_w, c, depth, M, t, point, values):
    """The values of the channels of W from c on, at a point of the rows; gives how far it is from one to the next."""
    W, w, w_y, w_x, channels, panels = of_w
    row, count, _ = at_point(t, point)
    height, width, step = t[HEIGHT], t[WIDTH], 32 * panels * depth + PAD
    m, v_n = t[ROW_MATRIX] + row * height, width * step
    for x in range(width):
        for panel in range(panels):
            from_, to = w + x * w_x + (panel * channels + c) * 32, x * step + panel * 32 * depth
            combine(M, m, height, 1, W, from_, w_y, values, to, v_n, count, height, 32 * depth, False)
    return step


@loop_apart
@no_type_check
def add_up(P, rows, M, t, point, V):
    """The transpose of a transform, first half: from products P at a point of the rows, overwrite the values there."""
    row, count, matrix = at_point(t, point)
    width, step = count * t[WIDTH], 32 * rows + PAD
    combine(M, matrix, 1, width, P, 0, step, V, row * t[WIDTH] * step, step, width, number(t, point), 32 * rows, False)


@loop_apart
@no_type_check
def at_point(t, point):
    """The first value at a point of the rows, how many there are, and where the matrix to the products begins."""
    if point < t[REAL]:
        return point, 1, t[SINGLE]
    return 2 * point - t[REAL], 2, t[DOUBLE]


@loop_apart
@no_type_check
def number(t, point):
    """Products at a point of the rows."""
    if point < t[REAL]:
        return (t[DOUBLE] - t[SINGLE]) // t[WIDTH]
    return (t[ROW_MATRIX] - t[DOUBLE]) // (2 * t[WIDTH])


@loop_apart
@no_type_check
def before(t, point):
    """Products at all points of the rows before."""
    real = min(point, t[REAL])
    return real * number(t, 0) + (point - real) * number(t, t[REAL])
