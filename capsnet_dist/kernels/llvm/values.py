"""What loops compute with: numbers and vectors of LLVM, and tuples and arrays of them."""

# pyright: basic
# llvmlite has no stubs.

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import llvmlite.ir as ir

LANES = 16

INT, BOOL, SINGLE, DOUBLE = ir.IntType(64), ir.IntType(1), ir.FloatType(), ir.DoubleType()
VECTOR = ir.VectorType(SINGLE, LANES)


class Array(NamedTuple):
    """A contiguous array: where it begins, and the sizes of its axes."""

    data: Any
    shape: tuple[Any, ...]


class Intrinsic(NamedTuple):
    """A function that writes instructions: it gets LLVM's builder, and values."""

    emit: Callable[..., Any]


Value = Any
"""A number or a vector of LLVM's, which has no stubs, a tuple of values, or an array."""


def leaves(value: Value) -> Iterator[Any]:
    """The numbers, vectors and addresses that a value consists of."""
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def like(value: Value, numbers: Iterator[Any]) -> Value:
    """A value of the same kind of other numbers, in the order of `leaves`."""
    if isinstance(value, Array):
        return Array(*(like(part, numbers) for part in value))
    if isinstance(value, tuple):
        return tuple(like(part, numbers) for part in value)
    return next(numbers)


def kind(value: Value) -> str:
    """What a loop is compiled for: the types of the numbers, and how they hang together."""
    if isinstance(value, Array):
        return f"{value.data.type.pointee}[{len(value.shape)}]"
    return f"({','.join(map(kind, value))})" if isinstance(value, tuple) else str(value.type)


def known(value: Any) -> int:
    """An integer that is known while the loop is compiled."""
    if not isinstance(value, ir.Constant):
        raise TypeError("must be a constant")
    return value.constant


def integer(number: int) -> Any:
    """A constant."""
    return ir.Constant(INT, number)
