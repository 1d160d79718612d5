"""How numba compiles the loops of the kernels."""

import contextlib
import hashlib
from functools import cache
from pathlib import Path
from typing import no_type_check

from numba import njit, types
from numba.core.caching import FunctionCache

FAST = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order; NaN and infinity stay what they are


@no_type_check
def loop(function):
    """Compile for the types of each first call, and keep the result on the disk where that can be written."""
    return _compiled(function, FAST)


@no_type_check
def ordered_loop(function):
    """The same with sums in the order that is written, so that they are the same on any processor."""
    return _compiled(function, False)


@no_type_check
def general_loop(function):
    """An ordered loop that is compiled once, and not again for each constant that another loop calls it with."""
    compiled = _compiled(function, False)
    typed = compiled.get_call_template
    compiled.get_call_template = lambda args, kws: typed([types.unliteral(arg) for arg in args], kws)
    return compiled


@no_type_check
def _compiled(function, fastmath):
    compiled = njit(function, nogil=True, fastmath=fastmath, error_model="numpy")
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


@cache
def sources() -> str:
    """A hash of all modules that what is compiled may call."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
