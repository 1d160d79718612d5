"""A module of LLVM's with a loop that Python calls."""

# pyright: basic
# llvmlite has no stubs.

from typing import Any

import llvmlite.ir as ir
import numpy as np

from capsnet_dist.kernels.llvm.loop import Loop
from capsnet_dist.kernels.llvm.statements import Unit
from capsnet_dist.kernels.llvm.values import BOOL, DOUBLE, INT, SINGLE, Array, Value, leaves

TYPES = {"float32": SINGLE, "int64": INT}


def module(name: str, loop: Loop, arguments: tuple[Any, ...]) -> str:
    """In LLVM's language; the function with that name reads arguments of such kinds, eight bytes each number.

    Raises:
        TypeError: an argument, or something in the loop, that is not understood.
    """
    unit = Unit()
    entry = ir.Function(unit.module, ir.FunctionType(ir.VoidType(), [INT.as_pointer()]), name)
    builder = ir.IRBuilder(entry.append_basic_block())
    values = _Reader(builder, entry.args[0]).value(arguments)
    builder.call(unit.function(loop, list(values)), list(leaves(values)))
    builder.ret_void()
    return str(unit.module)


class _Reader:
    """Reads values out of the memory that Python wrote."""

    def __init__(self, builder: Any, memory: Any) -> None:
        self.builder, self.memory, self.count = builder, memory, 0

    def number(self) -> Any:
        """The next eight bytes."""
        place = self.builder.gep(self.memory, [ir.Constant(INT, self.count)])
        self.count += 1
        return self.builder.load(place)

    def value(self, argument: Any) -> Value:
        """What stands for an argument."""
        if isinstance(argument, tuple):
            return tuple(map(self.value, argument))
        number = self.number()
        if isinstance(argument, np.ndarray) and argument.dtype.name in TYPES:
            data = self.builder.inttoptr(number, TYPES[argument.dtype.name].as_pointer())
            return Array(data, tuple(self.number() for _ in argument.shape))
        if isinstance(argument, bool):
            return self.builder.trunc(number, BOOL)
        if isinstance(argument, int | np.integer):
            return number
        if isinstance(argument, float):
            return self.builder.bitcast(number, DOUBLE)
        raise TypeError(f"{argument!r}: must be a number, a tuple, or an array of float32 or int64")
