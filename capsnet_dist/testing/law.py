"""Laws, and what they say of a plugin that breaks one."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from capsnet_dist.errors import UserError, did_you_mean

S = TypeVar("S")


class Broken(AssertionError):
    """A law does not hold; the message says what was seen."""


class Skipped(Exception):
    """A law cannot be tried on this plugin; the message says why."""


@dataclass(frozen=True)
class Law(Generic[S]):
    """Something that every plugin of a kind must do; the docstring of `check` says what, and why it matters.

    Args:
        check: Raises Broken, or anything else, where the law does not hold, and Skipped where it cannot be tried.
        soft: Whether a plugin that breaks it still works: noted, not a failure.
        after: Laws without which it says nothing new: where one of them has failed, this one is not tried.
    """

    check: Callable[[S], None]
    soft: bool = False
    after: tuple[Callable[..., None], ...] = ()

    @property
    def name(self) -> str:
        """What it is called: `couplings_are_shares`."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """The law and its reason."""
        return " ".join((inspect.getdoc(self.check) or "").split())


def select(laws: Iterable[Law[S]], names: Iterable[str] | None) -> list[Law[S]]:
    """The laws with these names; all of them without.

    Raises:
        UserError: there is no such law.
    """
    known = {law.name: law for law in laws}
    for name in names or ():
        if name not in known:
            raise UserError(f"There is no check {name!r}.{did_you_mean(name, known)}")
    return list(known.values()) if names is None else [known[name] for name in names]


def require(holds: bool | Tensor, seen: str) -> None:
    """Raise Broken with what was seen, unless it holds."""
    if not holds:
        raise Broken(seen)


def require_same(actual: Iterable[Tensor], expected: Iterable[Tensor], what: str, tolerance: float = 1e-6) -> None:
    """Raise Broken unless tensors agree up to a share of their largest value; 1e-6 is ample for rounding in float64."""
    for one, other in zip(actual, expected, strict=True):
        require(one.shape == other.shape, f"{what}: the shape is {tuple(one.shape)} instead of {tuple(other.shape)}")
        if not one.numel():
            continue
        difference = (one.double() - other.double()).abs().max().item()
        largest = other.double().abs().max().item()
        seen = f"{what}: values up to {largest:.3g} differ by {difference:.3g}"
        require(difference <= tolerance * max(1.0, largest), seen)
