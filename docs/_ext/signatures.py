"""Types as a reader knows them: `Count` in a signature, and `int, at least 1` where a parameter is described."""

import inspect
import typing
from types import NoneType, UnionType
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature
from sphinx.util.typing import stringify_annotation

from capsnet_dist import ranges
from capsnet_dist.registry import Choice

RANGES = {name: kind for name, kind in vars(ranges).items() if hasattr(kind, "__metadata__")}
WRITTEN = {stringify_annotation(kind, mode="smart"): name for name, kind in RANGES.items()}
"""What Sphinx writes for a type with a range, and the name of that type."""


class Written:
    """A default that is shown as it is written in the code."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def in_words(kind: Any) -> str:
    """A type with its range, the values of a Literal, or the plugin that is chosen."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(kind, "__metadata__"):
        each = "each " * (typing.get_origin(kind.__origin__) is tuple)
        return ", ".join([in_words(kind.__origin__), *(each + range.rule for range in kind.__metadata__)])
    if origin is typing.Literal:
        return " | ".join(map(str, parts))
    if origin in (typing.Union, UnionType):
        return " | ".join(map(in_words, parts))
    if origin is Choice:
        return in_words(parts[0])
    if kind in (None, NoneType, ...):
        return "..." if kind is ... else "None"
    name = getattr(origin or kind, "__name__", str(kind))
    return f"{name}[{', '.join(map(in_words, parts))}]" if parts else name


def default_in_words(value: Any) -> str:
    """A default as it is given on the command line."""
    return value.name if isinstance(value, Choice) else str(value)


def signature_of(target: Any) -> str:
    """The parameters of a plugin, with the types that autodoc would give them."""
    is_class = inspect.isclass(target)  # whose own annotations are those of its attributes
    found = signature(target.__init__ if is_class else target, bound_method=is_class)
    shown = [each.replace(default=_as_written(each.default)) for each in found.parameters.values()]
    text = stringify_signature(
        found.replace(parameters=shown), unqualified_typehints=True, show_return_annotation=False
    )
    return named(text)


def named(text: str) -> str:
    """Types with ranges by their names, which link to what they allow."""
    for written, name in WRITTEN.items():
        text = text.replace(written, f"~capsnet_dist.ranges.{name}")
    return text


def _as_written(default: Any) -> Any:
    if not isinstance(default, Choice):
        return default
    return Written(f"{default.registry.group.rpartition('.')[2]}({default.name!r})")


def _readable(
    app: Sphinx, what: str, name: str, target: Any, options: Any, parameters: str | None, returns: str | None
) -> tuple[str, str] | None:
    """Before autodoc writes a signature, when it has noted types for the descriptions of the parameters."""
    noted = app.env.current_document.autodoc_annotations.get(name, {})
    for key, text in noted.items():
        for written, alias in WRITTEN.items():
            noted[key] = text = text.replace(written, in_words(RANGES[alias]))
    if parameters is None:
        return None
    anything = what == "class" and parameters.startswith("(*args")  # of Protocol and nn.Module, which says nothing
    return ("", "") if anything else (named(parameters), named(returns or ""))


_original: dict[str, list[str]] = {}


def _keep(app: Sphinx, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon, which takes what an attribute's docstring says before a colon for its type."""
    if what in ("attribute", "property", "data"):
        _original[name] = lines.copy()


def _restore(app: Sphinx, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    """After it."""
    lines[:] = _original.pop(name, lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen to autodoc."""
    app.connect("autodoc-process-signature", _readable)
    app.connect("autodoc-process-docstring", _keep, priority=400)
    app.connect("autodoc-process-docstring", _restore, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
