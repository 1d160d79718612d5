"""Loops, from the text of a Python function to LLVM's instructions."""

# pyright: basic
# llvmlite has no stubs.

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import llvmlite.ir as ir

from capsnet_dist.kernels.llvm.expressions import Expressions
from capsnet_dist.kernels.llvm.values import INT, Array, Value, integer, kind, leaves, like


class Unit:
    """A module of LLVM's with a loop and all that it calls, each once for each kind of arguments."""

    def __init__(self) -> None:
        self.module = ir.Module()
        self.functions: dict[Any, Any] = {}

    def function(self, loop: Any, arguments: list[Value]) -> Any:
        """The function of a loop that gives nothing back."""
        key = loop, tuple(map(kind, arguments))
        if key not in self.functions:
            numbers = list(leaves(tuple(arguments)))
            made = ir.FunctionType(ir.VoidType(), [number.type for number in numbers])
            function = ir.Function(self.module, made, f"{loop.name}.{len(self.functions)}")
            function.linkage = "internal"
            if loop.apart:
                function.attributes.add("noinline")
            self.functions[key] = function
            entry, body = function.append_basic_block("entry"), function.append_basic_block("body")
            builder = ir.IRBuilder(body)
            Statements(self, loop, builder, entry).run(like(tuple(arguments), iter(function.args)))
            builder.ret_void()
            ir.IRBuilder(entry).branch(body)
        return self.functions[key]


class Statements(Expressions):
    """Writes the instructions of a loop where a builder stands; variables are at the beginning of the function.

    Args:
        unit: Where the loops are that it calls.
        loop: Which.
        builder: Where.
        entry: The first block of the function.
    """

    def __init__(self, unit: Unit, loop: Any, builder: Any, entry: Any) -> None:
        super().__init__(builder, loop.function.__globals__)
        self.unit, self.loop, self.entry = unit, loop, entry
        self.variables: dict[str, tuple[Value, list[Any]]] = {}
        self.ends: list[Any] = []  # of the loops around, where `continue` goes

    def run(self, arguments: Value) -> Value | None:
        """Write all of it; gives what it gives back."""
        for parameter, argument in zip(self.loop.tree.args.args, arguments, strict=True):
            self.write(parameter.arg, argument)
        self.exit = self.builder.append_basic_block("exit")
        self.block(self.loop.tree.body)
        if not self.builder.block.is_terminated:
            self.builder.branch(self.exit)
        self.builder.position_at_end(self.exit)
        return self.read("return")

    def call(self, function: Any, arguments: list[Value]) -> Value | None:
        """Another loop: a call, or, of one that gives something back, what it does, here."""
        if function.gives:
            return Statements(self.unit, function, self.builder, self.entry).run(tuple(arguments))
        self.builder.call(self.unit.function(function, arguments), list(leaves(tuple(arguments))))
        return None

    def read(self, name: str) -> Value | None:
        """What a local variable is, or None if there is none."""
        if name not in self.variables:
            return None
        value, places = self.variables[name]
        return like(value, map(self.builder.load, places))

    def write(self, name: str, value: Value) -> None:
        """Give a local variable a value; it stays of the kind that it had first."""
        if name == "_":
            return
        numbers = list(leaves(value))
        if name not in self.variables:
            top = ir.IRBuilder(self.entry)
            self.variables[name] = value, [top.alloca(number.type) for number in numbers]
        before, places = self.variables[name]
        if kind(before) != kind(value):
            raise TypeError(f"{name} was {kind(before)} and cannot become {kind(value)}")
        for number, place in zip(numbers, places, strict=True):
            self.builder.store(number, place)

    def block(self, statements: list[ast.stmt]) -> None:
        """One after the other, up to one that leaves."""
        for statement in statements:
            try:
                self.method("_do_", statement)(statement)
            except (TypeError, AttributeError, KeyError, ValueError) as error:
                if not getattr(error, "__notes__", ()):
                    error.add_note(f"{self.loop.name}: {ast.unparse(statement)}")
                raise
            if self.builder.block.is_terminated:
                return

    def _do_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value)

    def _do_Assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self.assign(target, value)

    def _do_AugAssign(self, node: ast.AugAssign) -> None:
        before = ast.copy_location(ast.parse(ast.unparse(node.target), mode="eval").body, node)
        self.assign(node.target, self.operate(node.op, self.value(before), self.value(node.value)))

    def _do_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.write("return", self.value(node.value))
        self.builder.branch(self.exit)

    def _do_Continue(self, node: ast.Continue) -> None:
        self.builder.branch(self.ends[-1])

    def _do_If(self, node: ast.If) -> None:
        with self.branches(node.test) as (yes, no, after):
            for block, statements in ((yes, node.body), (no, node.orelse)):
                self.builder.position_at_end(block)
                self.block(statements)
                if not self.builder.block.is_terminated:
                    self.builder.branch(after)

    def _of_IfExp(self, node: ast.IfExp) -> Any:
        name = f"either of {node.lineno}, {node.col_offset}"
        with self.branches(node.test) as (yes, no, after):
            for block, expression in ((yes, node.body), (no, node.orelse)):
                self.builder.position_at_end(block)
                self.write(name, self.value(expression))
                self.builder.branch(after)
        return self.read(name)

    @contextmanager
    def branches(self, test: ast.expr) -> Iterator[tuple[Any, Any, Any]]:
        """Both sides of a condition, and where they meet."""
        blocks = [self.builder.append_basic_block(name) for name in ("yes", "no", "after")]
        self.builder.cbranch(self.truth(self.value(test)), *blocks[:2])
        yield tuple(blocks)
        self.builder.position_at_end(blocks[2])

    def _do_For(self, node: ast.For) -> None:
        if isinstance(node.iter, ast.Call):
            bounds = [self.value(bound) for bound in node.iter.args]
            start, stop = bounds[:2] if len(bounds) > 1 else (integer(0), bounds[0])
            self.count(node, start, stop, bounds[2] if len(bounds) > 2 else integer(1), lambda number: number)
        elif isinstance(items := self.value(node.iter), Array):
            self.count(node, integer(0), items.shape[0], integer(1), lambda number: self.part(items, number))
        else:
            for value in items:
                self.assign(node.target, value)
                self.block(node.body)

    def count(self, node: ast.For, start: Any, stop: Any, step: Any, item: Callable[[Any], Value]) -> None:
        """A loop over the items of some numbers, with a step that is positive."""
        place = ir.IRBuilder(self.entry).alloca(INT)
        self.builder.store(start, place)
        head, body, end, after = (self.builder.append_basic_block(name) for name in ("head", "body", "end", "after"))
        self.builder.branch(head)
        self.builder.position_at_end(head)
        number = self.builder.load(place)
        self.builder.cbranch(self.builder.icmp_signed("<", number, stop), body, after)
        self.builder.position_at_end(body)
        self.assign(node.target, item(number))
        self.ends.append(end)
        self.block(node.body)
        self.ends.pop()
        if not self.builder.block.is_terminated:
            self.builder.branch(end)
        self.builder.position_at_end(end)
        self.builder.store(self.builder.add(number, step, flags=["nsw"]), place)
        self.builder.branch(head)
        self.builder.position_at_end(after)

    def assign(self, target: Any, value: Value) -> None:
        """To a variable, to several, or to a number of an array."""
        if isinstance(target, ast.Name):
            self.write(target.id, value)
        elif isinstance(target, ast.Tuple):
            if isinstance(value, Array):  # a row
                value = tuple(self.builder.load(self.part(value, integer(n)).data) for n in range(len(target.elts)))
            for each, part in zip(target.elts, value, strict=True):
                self.assign(each, part)
        else:
            place = self.part(self.value(target.value), self.value(target.slice))
            if place.shape:
                raise TypeError("a single number of an array is wanted")
            self.builder.store(value, place.data)
