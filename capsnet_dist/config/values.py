"""A configuration as JSON-ready data and back."""

import dataclasses
import inspect
import itertools
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import expanded, is_path
from capsnet_dist.ranges import bare, require
from capsnet_dist.registry import Choice

C = TypeVar("C")


def to_dict(config: Any) -> Any:
    """The configuration as JSON-ready data; a choice also records its name."""
    if isinstance(config, Choice):
        return {"name": config.name} | {key: to_dict(value) for key, value in config.options.items()}
    if dataclasses.is_dataclass(config):
        return {key: to_dict(value) for key, (_, value) in entries(config).items()}
    if isinstance(config, tuple):
        return [to_dict(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def from_dict(default: C, data: Mapping[str, Any], path: str = "") -> C:
    """Overlay `data`, as written by `to_dict`, on `default`.

    Raises:
        UserError: an unknown key, a plugin that is not registered, or a value of another type, with its path.
    """
    data = dict(data)
    if isinstance(default, Choice):
        default = typing.cast(C, named(default, data.pop("name", default.name)))
    known = entries(default)
    changes: dict[str, Any] = {}
    for key, value in data.items():
        place = f"{path}.{key}" if path else key
        if key not in known:
            shown = place if place.isprintable() else repr(place)
            raise UserError(f"{shown:.200} is not an option.{did_you_mean(key[:200], known)}")
        changes[key] = _restore(*known[key], value, place)
    return replace(default, changes)


def _restore(kind: Any, default: Any, value: Any, place: str) -> Any:
    """A value out of JSON as the type of the option whose default is given."""
    if isinstance(default, Choice):
        if not isinstance(value, dict):
            raise UserError(f"{place} must be an object with a name and options; got {value!r:.200}.")
        return from_dict(typing.cast(Choice[Any], default), typing.cast(dict[str, Any], value), place)
    if _is_group(default) and isinstance(value, dict):
        return from_dict(default, typing.cast(dict[str, Any], value), place)
    if is_nested(default) and isinstance(value, list):
        items = typing.cast(list[Any], value)
        defaults = itertools.chain(default, itertools.repeat(default[0]))
        pairs = enumerate(zip(defaults, items, strict=False))
        return tuple(_restore(None, kept, item, f"{place}.{index}") for index, (kept, item) in pairs)
    if isinstance(value, list):
        value = tuple(typing.cast(list[Any], value))
    is_word = isinstance(value, str) and _is(value, kind)  # such as "auto", where a path may be as well
    if isinstance(value, str) and not is_word and _admits(kind, Path) and is_path(value):
        value = expanded(value)
    if type(value) is int and _admits(kind, float) and abs(value) <= sys.float_info.max:
        value = float(value)
    if not _is(value, kind) or (type(value) is int and _admits(kind, float)):
        raise UserError(f"{place} must be {inspect.formatannotation(bare(kind))}; got {value!r:.200}.")
    return value


def _is_group(value: Any) -> bool:
    """Whether options are grouped: `--checkpoint.every`."""
    return dataclasses.is_dataclass(value) and not isinstance(value, Choice | type)


def _admits(kind: Any, wanted: type) -> bool:
    return wanted in (kind, *typing.get_args(kind))


def _is(value: Any, kind: Any) -> bool:
    from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

    if isinstance(value, bool) and not _admits(kind, bool):
        return False  # to Python it is an int
    try:
        check_type(value, kind, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
    except TypeCheckError:
        return False
    return True


def check_ranges(config: Any, path: str = "--") -> None:
    """Refuse numbers outside the range of their option, by the flag that sets it.

    Raises:
        UserError: with the flag, the value and the rule.
    """
    for key, (kind, value) in entries(config).items():
        flag = f"{path}{key}".replace("_", "-")
        require(kind, value, flag)
        if is_nested(value) or _is_group(value):
            check_ranges(value, f"{flag}.")


def named(choice: Choice[Any], name: object) -> Choice[Any]:
    """The choice of the plugin called `name`, with its default options if it is another one."""
    return choice if name == choice.name else choice.registry(str(name))


def is_nested(value: Any) -> bool:
    """Whether a value has options of its own: a choice, or a tuple of choices."""
    return isinstance(value, Choice) or (isinstance(value, tuple) and any(map(is_nested, typing.cast(Any, value))))


def choices(config: Any) -> list[Choice[Any]]:
    """All plugins of a configuration, those that are options of others too."""
    own = [typing.cast(Choice[Any], config)] if isinstance(config, Choice) else []
    nested = [value for _, value in entries(config).values() if is_nested(value) or _is_group(value)]
    return [*own, *(found for value in nested for found in choices(value))]


def entries(config: Any) -> dict[str, tuple[Any, Any]]:
    """Type and value of each option of a choice, field of a dataclass, or item of a tuple."""
    if isinstance(config, Choice):
        known = typing.cast(Choice[Any], config)
        kinds = known.registry.options(known.name)
        return {key: (kinds[key].type, value) for key, value in known.options.items()}
    if isinstance(config, tuple):
        return {str(index): (None, value) for index, value in enumerate(typing.cast(tuple[Any, ...], config))}
    kinds = typing.get_type_hints(type(config), include_extras=True)
    return {field.name: (kinds[field.name], getattr(config, field.name)) for field in dataclasses.fields(config)}


def replace(config: Any, changes: dict[str, Any]) -> Any:
    """A choice, a dataclass or a tuple with some of its entries changed."""
    if isinstance(config, Choice):
        known = typing.cast(Choice[Any], config)
        return known.registry(known.name, **{**known.options, **changes})
    if isinstance(config, tuple):
        return tuple(changes.get(key, value) for key, (_, value) in entries(config).items())
    return dataclasses.replace(config, **changes)
