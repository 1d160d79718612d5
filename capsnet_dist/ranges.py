"""Which numbers an option takes, written with its type: `channels: Count = 256`."""

import functools
import math
import operator
import typing
from collections.abc import Callable
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any

from capsnet_dist.errors import UserError


@dataclass(frozen=True)
class Range:
    """A rule for every number of an option."""

    rule: str
    """How it reads after "must be"."""
    holds: Callable[[float], bool]
    """Whether a number obeys it."""


AT_LEAST_1 = Range("at least 1", lambda number: number >= 1)
Count = Annotated[int, AT_LEAST_1]
Counts = Annotated[tuple[int, ...], AT_LEAST_1]
Natural = Annotated[int, Range("at least 0", lambda number: number >= 0)]
Amount = Annotated[float, Range("at least 0", lambda number: number >= 0)]
Positive = Annotated[float, Range("positive", lambda number: number > 0)]
Positives = Annotated[tuple[float, ...], Range("positive", lambda number: number > 0)]
Share = Annotated[float, Range("from 0 to 1", lambda number: 0 <= number <= 1)]
Shares = Annotated[tuple[float, ...], Range("from 0 to 1", lambda number: 0 <= number <= 1)]
Shade = Annotated[int, Range("from 0 to 255", lambda number: 0 <= number <= 255)]
Fraction = Annotated[float, Range("at least 0 and less than 1", lambda number: 0 <= number < 1)]


def require(kind: Any, value: Any, place: str) -> None:
    """Refuse numbers that are not finite, or outside the range that the type of an option names.

    Raises:
        UserError: with the place, the value and the rule.
    """
    values = typing.cast(tuple[Any, ...], value if isinstance(value, tuple) else (value,))
    numbers = [number for number in values if isinstance(number, int | float)]
    rules = [Range("a finite number", lambda number: abs(number) < math.inf), *_ranges(kind)]
    if broken := [rule.rule for rule in rules if not all(map(rule.holds, numbers))]:
        raise UserError(f"{place} {' '.join(map(str, values))}: must be {broken[-1]}.")


def bare(kind: Any) -> Any:
    """The type of an option without its range."""
    if typing.get_origin(kind) in (typing.Union, UnionType):
        return functools.reduce(operator.or_, map(bare, typing.get_args(kind)))
    return kind.__origin__ if hasattr(kind, "__metadata__") else kind


def _ranges(kind: Any) -> list[Range]:
    """The ranges of a type, and of those that it may be one of."""
    inner = kind.__origin__ if hasattr(kind, "__metadata__") else kind
    parts = typing.get_args(inner) if typing.get_origin(inner) in (typing.Union, UnionType) else ()
    own = [rule for rule in getattr(kind, "__metadata__", ()) if isinstance(rule, Range)]
    return [*own, *(rule for part in parts for rule in _ranges(part))]
