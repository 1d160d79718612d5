"""The loops of transforms, small matrices times long rows; LLVM compiles them.

All arrays are flat. An argument named like an array in lower case is where to begin in it, or, with an axis, how far it
is from one row or column to the next: `x_y`, `x_x`. Numbers k of all samples and channels follow one another.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

from capsnet_dist.kernels.convolution.combine import BLOCK, RUN
from capsnet_dist.kernels.llvm.loop import loop, loop_apart
from capsnet_dist.kernels.llvm.vectors import LANES, add_products, no_rows, spread, store_rows, stream_rows


@loop
@no_type_check
def combine_columns(M, m_n, m_y, X, x_y, x_x, Y, y_n, y_x, outputs, inputs, width, start, stop):
    """Y[n, x, k] = sum_y M[n, y] X[y, x, k] of all n and x, and the numbers k from start to stop."""
    for x in range(width):
        from_, to = x * x_x + start, x * y_x + start
        combine(M, 0, m_n, m_y, X, from_, x_y, Y, to, y_n, outputs, inputs, stop - start, False)


@loop_apart
@no_type_check
def combine(M, m, m_n, m_y, X, x, x_y, Y, y, y_n, outputs, inputs, length, stream):
    """Y[n, k] = sum_y M[n, y] X[y, k]: 128 numbers k of two rows n at a time, which are in 16 registers.

    The last 128 may overlap those before; what is computed twice comes out the same.
    """
    for start in range(0, length, BLOCK):
        k = min(start, length - BLOCK)
        for n in range(0, outputs - 1, 2):
            one, other = no_rows(), no_rows()
            for i in range(inputs):
                at = m + n * m_n + i * m_y
                one = add_products(X, x + i * x_y + k, LANES, spread(M, at), one)
                other = add_products(X, x + i * x_y + k, LANES, spread(M, at + m_n), other)
            put(Y, y + n * y_n + k, one, stream)
            put(Y, y + (n + 1) * y_n + k, other, stream)
        if outputs % 2 == 1:
            last, one = outputs - 1, no_rows()
            for i in range(inputs):
                one = add_products(X, x + i * x_y + k, LANES, spread(M, m + last * m_n + i * m_y), one)
            put(Y, y + last * y_n + k, one, stream)


@loop_apart
@no_type_check
def put(Y, y, vectors, stream):
    """Write 128 numbers, past the caches or not."""
    if stream:
        stream_rows(Y, y, LANES, vectors)
    else:
        store_rows(Y, y, LANES, vectors)


@loop
@no_type_check
def factors(X, x_y, x_x, height, width, rows, single, double, real, pairs, F, f_m, start, stop, values):
    """F = factors of X at real points of the rows, then at pairs of complex ones, of the numbers k from start to stop.

    512 of them at a time: the values between both steps stay in the second cache. One column x after the other, so that
    few rows are read at the same time.
    """
    n, few, many = real + 2 * pairs, len(single) // width, len(double) // (2 * width)
    for begin in range(start, stop, RUN):
        length = min(RUN, stop - start)
        k = min(begin, stop - length)
        for x in range(width):
            combine(rows, 0, height, 1, X, x * x_x + k, x_y, values, x * RUN, width * RUN, n, height, length, False)
        to = k
        for point in range(real + pairs):
            if point < real:
                at = point * width * RUN
                combine(single, 0, width, 1, values, at, RUN, F, to, f_m, few, width, length, False)
                to += few * f_m
            else:
                at = (2 * point - real) * width * RUN
                combine(double, 0, 2 * width, 1, values, at, RUN, F, to, f_m, many, 2 * width, length, False)
                to += many * f_m
