"""What a comparison compares: the same run with other routings, or with other networks, each by a word."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from capsnet_dist import config
from capsnet_dist.errors import UserError
from capsnet_dist.registry import Choice
from capsnet_dist.run import Run


def words_of(text: str) -> list[str]:
    """The words between commas, except those inside brackets: `capsnet:decoder.hidden=[8,8],hvc` are two."""
    return [word.strip() for word in re.split(r",(?![^\[]*\])", text) if word.strip()]


def with_routings(run: Run, words: Sequence[str]) -> dict[str, Run]:
    """The run with each of some routings in its network.

    Args:
        run: What all of them share; its model must have an option called routing.
        words: Names, each with the options that differ: "em:iterations=2". The routing that the network has anyway
            keeps its options, others have their defaults.

    Raises:
        UserError: a name or option that is unknown, or a network without a routing.
    """
    if "routing" not in run.model.options:
        raise UserError(f"Network {run.model.name!r} has no routing to exchange; compare networks by --models.")
    own: Choice[Any] = run.model.options["routing"]
    return {word: replace(run, model=run.model.replace(routing=chosen(own, word))) for word in words}


def with_models(run: Run, words: Sequence[str]) -> dict[str, Run]:
    """The run with each of some networks, written as routings are: "capsnet:routing=em:routing.iterations=2".

    Raises:
        UserError: a name or option that is unknown.
    """
    return {word: replace(run, model=chosen(run.model, word)) for word in words}


def chosen(own: Choice[Any], word: str) -> Choice[Any]:
    """A plugin by its name and what differs from its options, of the kind of another: "em:iterations=2".

    Raises:
        UserError: a name, option or value that cannot be.
    """
    name, *pairs = word.split(":")
    base = config.named(own, name)
    options: dict[str, Any] = {}
    for pair in pairs:
        place, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{word}: an option is written as NAME=VALUE; got {pair!r}.")
        _put(options, base, place, _value(value))
    choice = config.from_dict(base, options, name)
    config.check_ranges(choice, f"{name}.")
    return choice


def _put(options: dict[str, Any], choice: Choice[Any], place: str, value: Any) -> None:
    """Enter a value as `config.from_dict` reads it; the value of a plugin is its name."""
    key, _, rest = place.replace("-", "_").partition(".")
    inside: Any = choice.options.get(key)
    if not isinstance(inside, Choice):
        options[place.replace("-", "_")] = value
        return
    known: dict[str, Any] = options.setdefault(key, {})
    if rest:
        _put(known, config.named(inside, known.get("name", inside.name)), rest, value)
    else:
        known["name"] = value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a word, such as "last"


def folder_name(word: str, seed: int) -> str:
    """The run folder of a seed, inside that of the comparison."""
    return f"{re.sub(r'[^-+.=_0-9A-Za-z]', '-', word)}-{seed}"


def refuse_collisions(runs: Mapping[str, Run]) -> None:
    """Refuse words that would share a folder.

    Raises:
        UserError: with both words.
    """
    found: dict[str, str] = {}
    for word in runs:
        if (other := found.setdefault(folder_name(word, 0), word)) != word:
            raise UserError(f"{other} and {word} would share a run folder: leave one of them out.")
