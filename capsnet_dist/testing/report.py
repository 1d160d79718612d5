"""Laws, and what came of checking them."""

import inspect
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import torch
from torch import Tensor

from capsnet_dist.errors import UserError, did_you_mean

S = TypeVar("S")
OnFail = Literal["raise", "report"]
Status = Literal["passed", "failed", "expected", "noted", "skipped"]


class Broken(AssertionError):
    """A law does not hold; the message says what was seen."""


class Skipped(Exception):
    """A law cannot be tried on this plugin; the message says why."""


class ChecksFailed(AssertionError):
    """Some laws do not hold.

    Args:
        report: What came of all of them.
    """

    def __init__(self, report: "Report") -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Law(Generic[S]):
    """Something that every plugin of a kind must do; the docstring of `check` says what, and why it matters.

    Args:
        check: Raises Broken, or anything else, where the law does not hold, and Skipped where it cannot be tried.
        soft: Whether a plugin that breaks it still works: reported, not a failure.
    """

    check: Callable[[S], None]
    soft: bool = False

    @property
    def name(self) -> str:
        """What it is called: `couplings_are_shares`."""
        return self.check.__name__

    @property
    def sentence(self) -> str:
        """The law and its reason."""
        return " ".join((inspect.getdoc(self.check) or "").split())


class Result(NamedTuple):
    """What came of one law."""

    name: str
    status: Status
    """expected: broken, as was said beforehand; noted: broken, and soft."""
    message: str
    """What was seen, or why it was skipped or expected."""
    law: str
    """The law and its reason."""
    seconds: float

    def __str__(self) -> str:
        law = f"\n    {self.law}" if self.status in ("failed", "noted") else ""
        return f"{self.status:8} {self.name}{': ' if self.message else ''}{self.message}{law}"


@dataclass(frozen=True)
class Report:
    """What came of all laws for one plugin."""

    kind: str
    name: str
    results: tuple[Result, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the laws that do not hold."""
        return tuple(result.name for result in self.results if result.status == "failed")

    @property
    def summary(self) -> str:
        """How many laws ended in which way."""
        statuses = [result.status for result in self.results]
        return f"{self.kind} {self.name}: " + ", ".join(
            f"{statuses.count(s)} {s}" for s in get_args(Status) if s in statuses
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        results = [result._asdict() for result in self.results]
        return {"kind": self.kind, "name": self.name, "passed": not self.failed, "results": results}

    def __str__(self) -> str:
        shown = [str(result) for result in self.results if result.status not in ("passed", "skipped")]
        return "\n".join([self.summary, *shown])


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


def conduct(subject: S, laws: Iterable[Law[S]], expected: Mapping[str, str]) -> tuple[Result, ...]:
    """Try each law; `expected` gives the reason why some do not hold."""
    return tuple(_try(subject, law, expected.get(law.name)) for law in laws)


def _try(subject: S, law: Law[S], expected: str | None) -> Result:
    start = time.perf_counter()
    status, message = _outcome(subject, law)
    if expected is not None and status in ("failed", "noted"):
        status, message = "expected", f"{expected} ({message})"
    elif expected is not None and status == "passed":
        status, message = "failed", f"it was expected to fail ({expected}) and does not: expect it no longer"
    return Result(law.name, status, message, law.sentence, time.perf_counter() - start)


def _outcome(subject: S, law: Law[S]) -> tuple[Status, str]:
    broken: Status = "noted" if law.soft else "failed"
    try:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)  # that of the processor only
            law.check(subject)
    except Skipped as reason:
        return "skipped", str(reason)
    except Broken as error:
        return broken, str(error)
    except Exception as error:  # whatever the plugin raises, it is the plugin that fails
        return broken, f"it raised {type(error).__name__}: {_first_lines(error)}"
    return "passed", ""


def _first_lines(error: Exception, most: int = 300) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= most else text[:most] + "…"


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
