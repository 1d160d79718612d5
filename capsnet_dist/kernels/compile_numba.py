"""How numba compiles the loops of the kernels."""

import contextlib
from typing import no_type_check

from numba import njit

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; NaN and infinity stay what they are


@no_type_check
def loop(function):
    """Compile for the types of each first call, and keep the result on the disk where that can be written."""
    compiled = njit(function, nogil=True, fastmath=FAST, error_model="numpy")
    with contextlib.suppress(RuntimeError):
        compiled.enable_caching()
    return compiled
