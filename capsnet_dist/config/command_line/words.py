"""The words of a command line: what is given to a flag, and the plugins that flags name."""

import contextlib
import itertools
import typing
from collections.abc import Sequence
from typing import Any, TypeVar

from capsnet_dist.config import entries, is_nested, named, replace
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.text import listed

C = TypeVar("C")


def split_words(argv: Sequence[str]) -> list[str]:
    """A command line with `--flag=value` taken apart, or the old plugin would stay, silently."""
    return [word for arg in argv for word in (arg.split("=", 1) if arg.startswith("--") else [arg])]


def values_of(words: Sequence[str], flag: str) -> list[str]:
    """What is given to a flag, which may take several values and stand several times.

    Args:
        words: A command line, as `split_words` gives it.
        flag: With its dashes.
    """
    values: list[str] = []
    for position, word in enumerate(words):
        if word == flag:
            rest = words[position + 1 :]
            values += itertools.takewhile(lambda value: not value.startswith("--"), rest)
    return values


def choose(config: C, words: Sequence[str], path: str = "--") -> C:
    """Put each plugin named on the command line in its place, so that it is its options that are parsed.

    Args:
        config: A configuration, or a plugin.
        words: A command line, as `split_words` gives it.
        path: What the flags of its fields begin with.

    Raises:
        UserError: an unknown plugin, or flags that do not fit each other.
    """
    changes: dict[str, Any] = {}
    for key, (_, value) in entries(config).items():
        if isinstance(value, Choice):
            value = _named_by(words, path + key, typing.cast(Choice[Any], value))
        elif is_nested(value):
            value = _listed(value, words, path + key)
        if is_nested(value):
            changes[key] = choose(value, words, f"{path}{key}.")
    return replace(config, changes)


def _named_by(words: Sequence[str], flag: str, choice: Choice[Any]) -> Choice[Any]:
    """The plugin that a flag names, or as it was.

    Raises:
        UserError: a second name follows the first, or an option is that of other plugins.
    """
    registry = choice.registry
    for position, word in enumerate(words[:-1]):
        if _same(word, flag):
            name, rest = words[position + 1], words[position + 2 :]
            choice = named(choice, name)
            if "chain" in registry and rest and rest[0] in registry:
                chain = f"{flag} chain {flag}.parts {name} {rest[0]}"
                raise UserError(f"{flag} {name} {rest[0]}: it takes one name. One after the other: {chain}.")
    for word in words:
        option = word.removeprefix(f"{flag}.").partition(".")[0].replace("-", "_")
        if word.startswith(f"{flag}.") and option not in choice.options and (owners := _owners(registry, option)):
            rule = f"{registry.kind} {choice.name!r} has no such option"
            raise UserError(f"{word}: {rule}. Name one that has it by {flag}: {listed(owners)}.")
    return choice


def _listed(choices: tuple[Choice[Any], ...], words: Sequence[str], flag: str) -> tuple[Choice[Any], ...]:
    """The choices of the plugins that a flag names, `--layers convolutional dense`; as they were if it is not there.

    A plugin that keeps its place in the list keeps its options.
    """
    found = [position for position, word in enumerate(words) if _same(word, flag)]
    if not found:
        return choices
    names = list(itertools.takewhile(lambda word: not word.startswith("--"), words[found[-1] + 1 :]))
    if not names:
        raise UserError(f"{flag} needs at least one name.{did_you_mean('', choices[0].registry)}")
    kept = (named(choice, name) for choice, name in zip(choices, names, strict=False))
    return (*kept, *(choices[0].registry(name) for name in names[len(choices) :]))


def _owners(registry: Registry[Any], option: str) -> list[str]:
    """The plugins that have an option, of those that can be loaded."""
    found: list[str] = []
    for name in registry:
        with contextlib.suppress(UserError):  # a package that is broken is no help
            found += [name] if option in registry.options(name) else []
    return found


def _same(flag: str, other: str) -> bool:
    return flag.replace("-", "_") == other.replace("-", "_")
