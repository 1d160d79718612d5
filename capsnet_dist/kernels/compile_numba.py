"""How numba compiles the loops of the kernels."""

import contextlib
from typing import no_type_check

from numba import njit
from numba.core.caching import FunctionCache

from capsnet_dist.kernels.sources import sources

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; NaN and infinity stay what they are


@no_type_check
def loop(function):
    """Compile for the types of each first call, and keep the result on the disk where that can be written."""
    compiled = njit(function, nogil=True, fastmath=FAST, error_model="numpy")
    with contextlib.suppress(RuntimeError):
        compiled._cache = Cached(function)  # what `enable_caching` does, which takes no other cache
    return compiled


class Cached(FunctionCache):
    """What is compiled, on the disk; it is found again while no source of the kernels has changed.

    numba's own cache looks at the file of the function alone, and would go on with what it calls from another.
    """

    @no_type_check
    def _index_key(self, sig, codegen):
        return (*super()._index_key(sig, codegen), sources())
