"""Maps and weights to panels of 32 channels and back, with the transforms on the way; LLVM compiles them.

All arrays are flat but `starts`, which says where each window of each phase begins in the maps, and weights, outputs x
channels x taps. Panels of maps are channels/32 x samples x 32 for all samples of one tile after the other.
"""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

from capsnet_dist.kernels.convolution.llvm_combine_loops import combine
from capsnet_dist.kernels.convolution.llvm_panel_loops import at_point, number
from capsnet_dist.kernels.convolution.panels import HEIGHT, PAD, PAIRS, REAL, ROW_MATRIX, RUN, SAMPLES, WIDTH
from capsnet_dist.kernels.llvm.loop import loop_apart
from capsnet_dist.kernels.llvm.vectors import (
    add_rows,
    load_rows,
    load_turned,
    store_rows,
    store_turned,
    stream_rows,
)


@loop_apart
@no_type_check
def factors(X, starts, x_y, x_x, x_s, batch, channels, M, t, F, f_m, start, stop, values):
    """F = factors of the windows of X, of runs of 16 samples from start to stop."""
    phases, tiles = starts.shape
    height, width, real, pairs = t[HEIGHT], t[WIDTH], t[REAL], t[PAIRS]
    n, panels = real + 2 * pairs, channels // 32
    room = n * width * RUN
    for run in range(start, stop):
        b = run * SAMPLES
        length = 32 * min(SAMPLES, batch - b)
        for panel in range(phases * panels):
            for tile in range(tiles):
                x = starts[panel // panels, tile] + b * x_s + panel % panels * 32
                for column in range(width):
                    for k in range(0, length, 256):
                        for y in range(height):
                            for half in (0, 16):
                                eight = load_rows(X, x + y * x_y + column * x_x + k // 32 * x_s + half, x_s)
                                store_rows(values, room + y * 256 + half, 32, eight)
                        to, y_n = column * RUN + k, width * RUN
                        combine(M, t[ROW_MATRIX], height, 1, values, room, 256, values, to, y_n, n, height, 256, False)
                to = ((panel * tiles + tile) * batch + b) * 32
                for point in range(real + pairs):
                    row, count, matrix = at_point(t, point)
                    at, inputs, some = row * width * RUN, count * width, number(t, point)
                    combine(M, matrix, inputs, 1, values, at, RUN, F, to, f_m, some, inputs, length, True)
                    to += some * f_m


@loop_apart
@no_type_check
def tiles_of(V, panels, starts, y_y, y_x, y_s, batch, c, M, t, Y, add, room):
    """Y (+)= the tiles of values V, the windows of a phase, of channels from c on."""
    height, width, n = t[HEIGHT], t[WIDTH], t[REAL] + 2 * t[PAIRS]
    samples = batch * len(starts)
    step = 32 * panels * samples + PAD
    for tile in range(len(starts)):
        for x in range(width):
            for b in range(0, batch, 8):
                for panel in range(panels):
                    from_ = x * step + (panel * samples + tile * batch + b) * 32
                    to = starts[tile] + x * y_x + b * y_s + c + 32 * panel
                    combine(M, t[ROW_MATRIX], 1, height, V, from_, width * step, room, 0, 256, height, n, 256, False)
                    for y in range(height):
                        for half in (0, 16):
                            at, eight = to + y * y_y + half, load_rows(room, 256 * y + half, 32)
                            if add:
                                eight = add_rows(eight, load_rows(Y, at, y_s))
                                store_rows(Y, at, y_s, eight)
                            else:
                                stream_rows(Y, at, y_s, eight)


@loop_apart
@no_type_check
def panels_of_outputs(w, first, panels, W, w_t):
    """W = w of some panels of outputs, taps x panels x channels x 32: eight taps of 16 outputs at a time."""
    _, channels, taps = w.shape
    for n in range(0, 32 * panels, 16):
        for c in range(channels):
            for t in range(0, taps, 8):
                t = min(t, taps - 8)
                from_ = ((32 * first + n) * channels + c) * taps + t
                to = t * w_t + (n // 32 * channels + c) * 32 + n % 32
                store_rows(W, to, w_t, load_turned(w, from_, channels * taps))


@loop_apart
@no_type_check
def panels_of_inputs(w, first, panels, W, w_t, back):
    """W = w of some panels of inputs, taps x panels x outputs x 32, or back."""
    outputs, channels, taps = w.shape
    for n in range(outputs):
        for c in range(0, 32 * panels, 16):
            for t in range(0, taps, 8):
                t = min(t, taps - 8)
                here = (n * channels + 32 * first + c) * taps + t
                there = t * w_t + (c // 32 * outputs + n) * 32 + c % 32
                if back:
                    store_turned(w, here, taps, load_rows(W, there, w_t))
                else:
                    store_rows(W, there, w_t, load_turned(w, here, taps))
