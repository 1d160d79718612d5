"""What a plugin takes, read from its signature: structure, given by the builder, and options, given by the user."""

import dataclasses
import functools
import inspect
import itertools
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple

from capsnet_dist.errors import UserError
from capsnet_dist.ranges import bare

RESERVED = ("name", "self")  # a saved choice keeps its plugin's name beside the options
PLAIN = (bool, int, float, str, Path, NoneType)
EXPRESSIBLE = "int, float, bool, str, Path, Literal[...], a tuple of these, one of these or None, or Choice[...]"


class Option(NamedTuple):
    """One keyword-only argument of a plugin."""

    type: Any
    default: Any


def options(plugin: Callable[..., Any]) -> dict[str, Option]:
    """Type and default of each option of a class or function."""
    types = option_types(plugin)
    return {p.name: Option(types[p.name], p.default) for p in _keyword_only(plugin)}


def option_types(plugin: Callable[..., Any]) -> dict[str, Any]:
    """The type of each argument of a class or function, with its range."""
    if isinstance(plugin, functools.partial):
        return option_types(plugin.func)
    return typing.get_type_hints(plugin.__init__ if inspect.isclass(plugin) else plugin, include_extras=True)


def check_signature(plugin: Callable[..., Any], kind: str, structure: Sequence[str], nested: type) -> None:
    """Refuse a signature with arguments that the builder does not give and the user cannot set.

    Args:
        plugin: A class, a function, or a `functools.partial` of one.
        kind: What it is called in messages: "routing".
        structure: Names of the positional arguments that the builder gives, in their order.
        nested: The type of an option that is a plugin itself.

    Raises:
        UserError: with the arguments and the mend.
    """
    if not isinstance(plugin, functools.partial) and not inspect.isclass(plugin) and not inspect.isroutine(plugin):
        raise UserError(f"got {plugin!r}: register a class or a function.")
    for fault in itertools.chain(_structure_faults(plugin, kind, structure), _option_faults(plugin, nested)):
        raise UserError(fault)


def _structure_faults(plugin: Callable[..., Any], kind: str, structure: Sequence[str]) -> Iterator[str]:
    parameters = inspect.signature(plugin).parameters.values()
    for p in parameters:
        if p.kind is p.VAR_POSITIONAL:
            yield f"{_inherited(plugin)}*{p.name} hides its arguments; name each one."
        if p.kind is p.VAR_KEYWORD:
            yield f"{_inherited(plugin)}**{p.name} hides its options; name each one."
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    built = f"Built as {kind}({', '.join([*structure, '*', 'options'])})."
    misplaced = [
        p.name
        for position, p in enumerate(positional)
        if position >= len(structure) or (p.default is not p.empty and p.name not in structure)
    ]
    if misplaced:
        are = "is positional, so nobody can set it" if len(misplaced) == 1 else "are positional, so nobody can set them"
        yield f"{_listed(misplaced)} {are}. {_keyword_only_mend(plugin, misplaced)}. {built}"
    if unused := [p.name for p in positional if p.default is not p.empty]:
        yield f"{_listed(unused)} always comes from the builder: remove the default, which is never used. {built}"
    if len(positional) < len(structure):
        taken = f"takes only {_listed([p.name for p in positional])}" if positional else "takes no positional argument"
        yield f"it {taken}: name all that it is built from. {built}"


def _keyword_only_mend(plugin: Callable[..., Any], misplaced: Sequence[str]) -> str:
    if dataclasses.is_dataclass(plugin):
        return "Write @dataclass(kw_only=True)"
    return f"Make {_listed(misplaced)} keyword-only: put `*,` before {'it' if len(misplaced) == 1 else 'them'}"


def _inherited(plugin: Callable[..., Any]) -> str:
    """The beginning of a message about the signature of an `__init__` that a class does not write itself."""
    if not inspect.isclass(plugin) or "__init__" in vars(plugin):
        return ""
    owner = next(base for base in plugin.__mro__ if "__init__" in vars(base))
    return f"it has no __init__ of its own, and that of {owner.__name__} does not say what it takes: "


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _option_faults(plugin: Callable[..., Any], nested: type) -> Iterator[str]:
    parameters = {p.name: p for p in _keyword_only(plugin)}
    for name, p in parameters.items():
        if p.default is p.empty or (p.annotation is p.empty and not isinstance(plugin, functools.partial)):
            yield f"option {name!r} needs a type and a default."
        negates = name.startswith("no_") and name.removeprefix("no_") in parameters  # --no-bias is --bias False
        if name in RESERVED or name.startswith("_") or negates:
            yield f"option {name!r} cannot be set on the command line: give it another name."
    try:
        known = options(plugin)
    except (NameError, KeyError) as error:
        yield f"the types of its signature cannot be read ({error}): import them where the program runs, too."
        return
    for name, (kind, default) in known.items():
        written = inspect.formatannotation(bare(kind))
        if not _expressible(kind, nested):
            yield f"option {name!r} has the type {written}; it must be {EXPRESSIBLE}."
        if not _holds(kind, default, nested):
            yield f"option {name!r} must be {written}; its default is {default!r:.200}."


def _keyword_only(plugin: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(plugin).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _expressible(kind: Any, nested: type) -> bool:
    """Whether values of a type can be written on a command line, and come back from JSON as they were."""
    kind = bare(kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (typing.Union, UnionType, tuple):
        return bool(arguments) and all(part is ... or _expressible(part, nested) for part in arguments)
    return origin in (*PLAIN, Literal, nested)


def _holds(kind: Any, value: Any, nested: type) -> bool:
    """Whether a value is of an expressible type."""
    kind = bare(kind)
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin in (typing.Union, UnionType):
        return any(_holds(part, value, nested) for part in arguments)
    if origin is Literal:
        return value in arguments
    if origin is tuple and isinstance(value, tuple):
        items = typing.cast(tuple[Any, ...], value)
        parts = arguments[:1] * len(items) if arguments[-1] is ... else arguments
        return len(parts) == len(items) and all(_holds(p, item, nested) for p, item in zip(parts, items, strict=True))
    if origin in (int, float):
        return isinstance(value, int | origin) and not isinstance(value, bool)
    return isinstance(value, origin)
