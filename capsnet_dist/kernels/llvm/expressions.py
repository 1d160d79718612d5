"""Expressions of loops, as instructions of LLVM's."""

# pyright: basic
# llvmlite has no stubs.

import ast
import builtins
from typing import Any

import llvmlite.ir as ir
import numpy as np

from capsnet_dist.kernels.llvm.values import BOOL, DOUBLE, INT, SINGLE, Array, Intrinsic, integer, known

COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
INTEGERS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
PYTHON = (len, min, max, np.float32)
FLOATS = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul"}


class Expressions:
    """Writes the instructions of expressions.

    Integers have 64 bits. Both sides of `and` and `or` are computed. A `min` or `max` has two arguments, and a
    comparison two sides, which are integers. Floating-point numbers are not mixed with integers.

    Args:
        builder: Where instructions go.
        names: What the module of the loop knows.
    """

    def __init__(self, builder: Any, names: dict[str, Any]) -> None:
        self.builder = builder
        self.outer = names

    def read(self, name: str) -> Any:
        """What a local variable is, or None if there is none."""
        raise NotImplementedError

    def call(self, function: Any, arguments: list[Any]) -> Any:
        """Another loop."""
        raise NotImplementedError

    def value(self, node: ast.expr) -> Any:
        """What an expression is: a value, or a function or a module to be used at once."""
        return self.method("_of_", node)(node)

    def method(self, prefix: str, node: ast.AST) -> Any:
        """What writes a node.

        Raises:
            TypeError: there is nothing for such nodes.
        """
        name = type(node).__name__
        if not hasattr(self, prefix + name):
            raise TypeError(f"{name}: not understood in a loop")
        return getattr(self, prefix + name)

    def _of_Constant(self, node: ast.Constant) -> Any:
        return constant(node.value)

    def _of_Name(self, node: ast.Name) -> Any:
        found = self.read(node.id)
        if found is not None:
            return found
        return constant(self.outer[node.id] if node.id in self.outer else getattr(builtins, node.id))

    def _of_Attribute(self, node: ast.Attribute) -> Any:
        owner = self.value(node.value)
        return owner.shape if isinstance(owner, Array) else constant(getattr(owner, node.attr))

    def _of_Tuple(self, node: ast.Tuple) -> Any:
        return tuple(map(self.value, node.elts))

    def _of_UnaryOp(self, node: ast.UnaryOp) -> Any:
        value = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return self.builder.not_(self.truth(value))
        if isinstance(value, ir.Constant):
            return ir.Constant(value.type, -value.constant)
        return self.builder.neg(value)

    def _of_BinOp(self, node: ast.BinOp) -> Any:
        return self.operate(node.op, self.value(node.left), self.value(node.right))

    def _of_BoolOp(self, node: ast.BoolOp) -> Any:
        found, *others = (self.truth(self.value(value)) for value in node.values)
        for other in others:
            found = self.builder.and_(found, other) if isinstance(node.op, ast.And) else self.builder.or_(found, other)
        return found

    def _of_Compare(self, node: ast.Compare) -> Any:
        (operation,), (right,) = node.ops, node.comparators
        return self.builder.icmp_signed(COMPARISONS[type(operation)], self.value(node.left), self.value(right))

    def _of_Subscript(self, node: ast.Subscript) -> Any:
        owner = self.value(node.value)
        if not isinstance(owner, Array):
            if isinstance(node.slice, ast.Slice):
                bounds = (node.slice.lower, node.slice.upper)
                return owner[slice(*(bound and known(self.value(bound)) for bound in bounds))]
            return owner[known(self.value(node.slice))]
        part = self.part(owner, self.value(node.slice))
        return part if part.shape else self.builder.load(part.data)

    def _of_Call(self, node: ast.Call) -> Any:
        function = self.value(node.func)
        arguments: list[Any] = []
        for argument in node.args:
            more = isinstance(argument, ast.Starred)
            arguments += self.value(argument.value) if more else [self.value(argument)]
        if isinstance(function, Intrinsic):
            return function.emit(self.builder, *arguments)
        return self._of_python(function, *arguments) if function in PYTHON else self.call(function, arguments)

    def _of_python(self, function: Any, first: Any, *others: Any) -> Any:
        """One of the functions that Python and NumPy have."""
        if function is len:
            return first.shape[0] if isinstance(first, Array) else integer(len(first))
        if function is np.float32:
            if isinstance(first, ir.Constant):
                return ir.Constant(SINGLE, float(first.constant))
            if first.type == INT:
                return self.builder.sitofp(first, SINGLE)
            return first if first.type == SINGLE else self.builder.fptrunc(first, SINGLE)
        (second,) = others
        before = self.builder.icmp_signed("<" if function is min else ">", first, second)
        return self.builder.select(before, first, second)

    def part(self, owner: Array, index: Any) -> Array:
        """The part of an array with the first indices given."""
        indices = index if isinstance(index, tuple) else (index,)
        at, size, rest = integer(0), integer(1), owner.shape[len(indices) :]
        for number, length in zip(indices, owner.shape, strict=False):
            at = self.builder.add(self.builder.mul(at, length), number)
        for length in rest:
            size = self.builder.mul(size, length)
        return Array(self.builder.gep(owner.data, [self.builder.mul(at, size)]), rest)

    def truth(self, value: Any) -> Any:
        """Whether a number is not zero."""
        return value if value.type == BOOL else self.builder.icmp_signed("!=", value, ir.Constant(value.type, 0))

    def operate(self, operation: ast.operator, left: Any, right: Any) -> Any:
        """Two numbers of the same type."""
        if left.type != right.type:
            raise TypeError(f"{left.type} and {right.type}: must be of one type")
        if left.type in (SINGLE, DOUBLE):
            return getattr(self.builder, FLOATS[type(operation)])(left, right)
        if type(operation) in INTEGERS:
            return getattr(self.builder, INTEGERS[type(operation)])(left, right, flags=["nsw"])
        return self.divide(operation, left, right)

    def divide(self, operation: ast.operator, left: Any, right: Any) -> Any:
        """Python's division of integers: quotients are rounded down, and a rest has the sign of the divisor."""
        b, quotient = self.builder, isinstance(operation, ast.FloorDiv)
        if isinstance(right, ir.Constant) and right.constant & (right.constant - 1) == 0:
            power = right.constant.bit_length() - 1
            return b.ashr(left, integer(power)) if quotient else b.and_(left, integer(right.constant - 1))
        rest, zero = b.srem(left, right), integer(0)
        differ = b.icmp_signed("<", b.xor(rest, right), zero)
        down = b.and_(b.icmp_signed("!=", rest, zero), differ)
        if quotient:
            return b.sub(b.sdiv(left, right), b.zext(down, INT))
        return b.select(down, b.add(rest, right), rest)


def constant(found: Any) -> Any:
    """A number of Python as one of LLVM; anything else as it is."""
    if isinstance(found, bool):
        return ir.Constant(BOOL, int(found))
    if isinstance(found, int):
        return integer(found)
    return ir.Constant(DOUBLE, found) if isinstance(found, float) else found
