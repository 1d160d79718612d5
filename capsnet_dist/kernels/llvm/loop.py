"""Python functions that LLVM compiles at their first call."""

# pyright: basic
# Loops have no types but those of each call.

import ast
import ctypes
import hashlib
import inspect
import struct
import threading
from functools import cached_property
from typing import Any, no_type_check

import numpy as np

from capsnet_dist.kernels.llvm.machine import address

LOCK = threading.Lock()  # LLVM compiles for one thread at a time

Compiled = tuple[Any, struct.Struct]
"""Machine code, and how the numbers that it reads lie in memory."""


class Loop:
    """A function of numbers, and tuples of them, and of contiguous arrays of float32 and int64.

    It is compiled for the kinds of its arguments. What is understood are assignments, `for` over a range or a tuple,
    `if`, `continue` and `return`, shapes, Python's arithmetic of integers, single numbers of arrays, what
    `capsnet_dist.kernels.llvm.vectors` has, and calls of other loops. Indices are not checked, and are not negative.

    Args:
        function: What is compiled.
        apart: Whether it stays a function of its own where others call it, so that LLVM compiles it once.
    """

    def __init__(self, function: Any, apart: bool) -> None:
        self.function, self.apart = function, apart
        self.name = f"{function.__module__}.{function.__name__}".removeprefix("capsnet_dist.kernels.")
        self._compiled: dict[str, Compiled] = {}

    def __call__(self, *arguments: Any) -> None:
        """Compute; other threads of the interpreter go on meanwhile."""
        kinds, numbers = [], []
        _collect(arguments, kinds, numbers)
        key = "".join(kinds)
        if key not in self._compiled:
            with LOCK:
                if key not in self._compiled:
                    self._compiled[key] = self._compile(key, arguments)
        code, layout = self._compiled[key]
        code(layout.pack(*numbers))

    @cached_property
    def tree(self) -> ast.FunctionDef:
        """What is written."""
        (found,) = ast.parse(inspect.getsource(self.function)).body
        assert isinstance(found, ast.FunctionDef)
        return found

    @cached_property
    def gives(self) -> bool:
        """Whether it gives something back; such a loop is written out where it is called, and Python cannot call it."""
        return any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(self.tree))

    def _compile(self, key: str, arguments: Any) -> Compiled:
        from capsnet_dist.kernels.llvm.entry import module

        name = f"{self.name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        code = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(address(name, lambda entry: module(entry, self, arguments)))
        numbers: list[Any] = []
        _collect(arguments, [], numbers)
        return code, struct.Struct("".join("d" if isinstance(number, float) else "q" for number in numbers))


def _collect(arguments: tuple[Any, ...], kinds: list[str], numbers: list[Any]) -> None:
    """Of what kinds arguments are, and the numbers that they are made of, in the order in which a loop reads them."""
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            if not argument.flags.c_contiguous:
                raise TypeError(f"array of strides {argument.strides}: must be contiguous")
            kinds.append(f"{argument.dtype.char}{argument.ndim}")
            numbers.append(argument.__array_interface__["data"][0])
            numbers.extend(argument.shape)
        elif isinstance(argument, tuple):
            kinds.append("(")
            _collect(argument, kinds, numbers)
            kinds.append(")")
        else:
            kinds.append("int" if isinstance(argument, np.integer) else type(argument).__name__)
            numbers.append(argument)


@no_type_check
def loop(function):
    """Compile it at its first call, into whatever calls it as well."""
    return Loop(function, apart=False)


@no_type_check
def loop_apart(function):
    """The same, but once for all that calls it: for what takes long enough for a call not to matter."""
    return Loop(function, apart=True)
