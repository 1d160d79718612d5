"""What the help of a command line says of a flag: its docstring in one line, its kind and its default."""

import ast
import inspect
import itertools
import textwrap
import typing
from pathlib import Path
from typing import Any, Literal

EMPTY = ("", "''", "()", "None")
"""Defaults that say nothing: what is not given."""


def said_of_default(default: str) -> str:
    """What the help says of a default, in brackets; nothing of one that says nothing."""
    return "" if default in EMPTY else f"(default: {default})"


def field_docs(kind: type) -> dict[str, str]:
    """The strings below the fields of a dataclass, each in one line, as far as its source is there."""
    try:
        (body,) = [node.body for node in ast.parse(textwrap.dedent(inspect.getsource(kind))).body]  # type: ignore
    except OSError:
        return {}
    found: dict[str, str] = {}
    for field, doc in itertools.pairwise(typing.cast(list[Any], body)):
        if isinstance(field, ast.AnnAssign) and isinstance(doc, ast.Expr) and isinstance(doc.value, ast.Constant):
            found[typing.cast(ast.Name, field.target).id] = _one_line(str(doc.value.value))
    return found


def argument_docs(plugin: Any) -> dict[str, str]:
    """What a docstring says of arguments, each in one line."""
    import docstring_parser

    doc = docstring_parser.parse(inspect.getdoc(plugin) or "")
    return {argument.arg_name: _one_line(argument.description or "") for argument in doc.params}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def placeholder(kind: Any) -> str | None:
    """What stands for a value of a type in the help; None where that is left to tyro."""
    if typing.get_origin(kind) is Literal:
        return f"{{{','.join(map(str, typing.get_args(kind)))}}}"
    return {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}.get(kind)
