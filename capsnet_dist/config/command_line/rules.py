"""How tyro shows and parses the values of flags."""

import functools
import inspect
import typing
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal

from capsnet_dist.config import is_nested
from capsnet_dist.config.command_line.helps import argument_docs, placeholder, said_of_default
from capsnet_dist.files import expanded
from capsnet_dist.ranges import bare
from capsnet_dist.registry import Choice


def readable(kind: Any, help_text: str | None = None) -> Any:
    """The type of a flag, whose help names neither the value nor the kind of what is not given."""
    import tyro

    parts = [bare(part) for part in typing.get_args(bare(kind))] if NoneType in typing.get_args(bare(kind)) else []
    names = [placeholder(part) for part in parts if part is not NoneType]
    metavar = "|".join(filter(None, names)) if names and all(names) else None
    return Annotated[kind, tyro.conf.arg(metavar=metavar, help=help_text, help_behavior_hint=said_of_default)]


@functools.cache
def rules() -> Any:
    """How tyro parses a path, with the home folder for `~`, and a choice: as its name beside its options."""
    import tyro
    from tyro.constructors import (
        ConstructorRegistry,
        PrimitiveConstructorSpec,
        PrimitiveTypeInfo,
        StructConstructorSpec,
        StructFieldSpec,
        StructTypeInfo,
    )

    found = ConstructorRegistry()

    @found.primitive_rule
    def path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
        if info.type is not Path:
            return None
        return PrimitiveConstructorSpec(
            1,
            "PATH",
            lambda words: expanded(words[0]),
            lambda value: isinstance(value, Path),
            lambda value: [str(value)],
        )

    @found.struct_rule
    def choice(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, Choice):
            return None
        chosen = typing.cast(Choice[Any], default)
        registry = chosen.registry
        helps, summary = argument_docs(registry[chosen.name]), inspect.getdoc(registry[chosen.name]) or ""
        names: Any = Annotated[Literal[tuple(registry)], tyro.conf.arg(name="")]  # pyright: ignore
        fields = [StructFieldSpec("__name", names, chosen.name, summary.partition("\n")[0])]
        for key, option in registry.options(chosen.name).items():
            fields.append(StructFieldSpec(key, readable(option.type), chosen.options[key], helps.get(key)))
        return StructConstructorSpec(lambda __name, **options: registry(__name, **options), tuple(fields))

    @found.struct_rule
    def choices(info: StructTypeInfo) -> StructConstructorSpec | None:
        default: Any = info.default
        if not isinstance(default, tuple) or not is_nested(default):
            return None
        chosen = typing.cast(tuple[Choice[Any], ...], default)
        names: Any = Annotated[tuple[Literal[tuple(chosen[0].registry)], ...], tyro.conf.arg(name="")]  # pyright: ignore
        help_text = "By name, in order; the options of each follow its number."
        fields = [StructFieldSpec("__names", names, tuple(choice.name for choice in chosen), help_text)]
        fields += [StructFieldSpec(str(index), Choice[Any], choice, None) for index, choice in enumerate(chosen)]
        return StructConstructorSpec(lambda __names, **items: tuple(items.values()), tuple(fields))

    return found
