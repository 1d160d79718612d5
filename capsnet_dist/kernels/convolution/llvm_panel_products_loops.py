"""Matrix products of panels of 32 channels; LLVM compiles them. All arrays are flat."""

# pyright: basic
# Types are those of the first call: loops have none for a checker.

from typing import no_type_check

from capsnet_dist.kernels.convolution.panels import DEPTH
from capsnet_dist.kernels.llvm.loop import loop, loop_apart
from capsnet_dist.kernels.llvm.vectors import add_rows, add_spread, load, load_rows, no_rows, prefetch, store_rows


@loop_apart
@no_type_check
def product(A, a, B, b, b_panel, panels, C, c, samples, depth, add):
    """C[n, s] (+)= sum_k A[k, s] B[n, k] of all samples s and the channels n of some panels."""
    for s in range(0, samples, 8):
        for n in range(panels):
            at, to = a + 32 * s, c + (n * samples + s) * 32
            tile(A, at, 32, 1, 32 * samples, A, at + 256, 32 * samples, B, b + n * b_panel, C, to, depth, add)


@loop_apart
@no_type_check
def product_turned(A, a, next_a, B, b, next_b, panels, C, c, samples, channels):
    """C[k, n] = sum_s A[n, s] B[k, s] of some channels n, and the channels k of some panels.

    Tiles of the first panel bring in what comes next of A, those of the second what the next product has in B.
    """
    for s in range(0, samples, DEPTH):
        for n in range(0, channels, 8):
            at, part = a + (n // 32 * samples + s) * 32, n % 32 // 8 * 1024
            ahead = at + 32 * samples + part if n + 32 < channels else next_a + 32 * s + part
            for panel in range(panels):
                from_, to = b + (panel * samples + s) * 32, c + (panel * channels + n) * 32
                some = min(DEPTH, samples - s)
                if panel == 0:
                    tile(A, at + n % 32, 1, 32, 1024, A, ahead, 256, B, from_, C, to, some, s > 0)
                else:
                    ahead = next_b + (n // 8 % (4 * panels) * samples + s) * 8
                    tile(A, at + n % 32, 1, 32, 1024, B, ahead, 256, B, from_, C, to, some, s > 0)


@loop
@no_type_check
def tile(A, a, a_i, a_k, jump, N, n, n_jump, B, b, C, c, depth, add):
    """C[i, j] (+)= sum_k A[i, k] B[k, j] of eight rows i and 32 columns j, which stay in 16 registers.

    After 32 terms A goes on at a jump. What comes next, N from n on, is brought in meanwhile, two lines of the cache
    for four terms: it lies in pieces too short for the processor to find out by itself.
    """
    left, right = no_rows(), no_rows()
    for _ in range(depth // 32):
        for four in range(8):
            prefetch(N, n + 32 * four)
            prefetch(N, n + 32 * four + 16)
            for k in range(4 * four, 4 * four + 4):
                left = add_spread(A, a + k * a_k, a_i, load(B, b + 32 * k), left)
                right = add_spread(A, a + k * a_k, a_i, load(B, b + 32 * k + 16), right)
        a, b, n = a + jump, b + 1024, n + n_jump
    for k in range(depth % 32):
        left = add_spread(A, a + k * a_k, a_i, load(B, b + 32 * k), left)
        right = add_spread(A, a + k * a_k, a_i, load(B, b + 32 * k + 16), right)
    if add:
        left, right = add_rows(left, load_rows(C, c, 32)), add_rows(right, load_rows(C, c + 16, 32))
    store_rows(C, c, 32, left)
    store_rows(C, c + 16, 32, right)
