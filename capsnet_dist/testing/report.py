"""What came of checking a plugin."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

Status = Literal["passed", "failed", "expected", "noted", "skipped"]


class Result(NamedTuple):
    """What came of one law."""

    name: str
    """Of the law."""
    status: Status
    """expected: broken, as was said beforehand; noted: broken, and the plugin works all the same."""
    message: str
    """What was seen, or why it was skipped or expected."""
    law: str
    """The law and its reason."""
    seconds: float
    """What trying it took."""
    file: str | None = None
    """The plugin's own file, where it was running when the law broke."""
    line: int | None = None
    """The innermost line of that file."""
    same_as: str | None = None
    """The law that was broken first for the same reason: on the same line, or with the same message."""

    @property
    def seen(self) -> str:
        """What was seen, with the place: `my_routing.py:12: it raised …`."""
        return f"{self.file}:{self.line}: {self.message}" if self.file else self.message

    @property
    def lines(self) -> list[str]:
        """What people read of it: what was seen, and the law if it is broken."""
        return [self.seen, self.law] if self.status in ("failed", "noted") else [self.seen]

    def __str__(self) -> str:
        return _indented(self, self.lines)


class ChecksFailed(AssertionError):
    """Some laws do not hold.

    Args:
        report: What came of all of them.
    """

    def __init__(self, report: "Report") -> None:
        super().__init__(str(report))
        self.report = report


@dataclass(frozen=True)
class Report:
    """What came of all laws for one plugin."""

    kind: str
    """What it is: "routing", "schedule"."""
    name: str
    """The plugin's, or that of its class."""
    results: tuple[Result, ...]
    """One for each law."""

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

    def told(self) -> dict[Result, list[str]]:
        """The results that say something new, each with what people read of it: one mistake is told once."""
        return {result: self._lines(result) for result in self.results if result.same_as is None}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        results = [result._asdict() for result in self.results]
        return {"kind": self.kind, "name": self.name, "passed": not self.failed, "results": results}

    def __str__(self) -> str:
        told = self.told().items()
        shown = [_indented(result, lines) for result, lines in told if result.status not in ("passed", "skipped")]
        return "\n".join([self.summary, *shown])

    def _lines(self, result: Result) -> list[str]:
        others = sum(other.same_as == result.name for other in self.results)
        return [*result.lines, *([f"and {others} more for the same reason"] if others else [])]


def _indented(result: Result, lines: Sequence[str]) -> str:
    return "\n    ".join([f"{result.status:8} {result.name}: {lines[0]}", *lines[1:]])


def group(results: Iterable[Result]) -> tuple[Result, ...]:
    """Say of each broken law whether another one broke for the same reason; the first is one that failed."""
    results = tuple(results)
    first: dict[object, str] = {}
    for result in sorted(results, key=lambda result: result.status != "failed"):
        if result.status in ("failed", "noted"):
            first.setdefault(_reason(result), result.name)
    return tuple(
        result._replace(same_as=first[_reason(result)])
        if result.status in ("failed", "noted") and first[_reason(result)] != result.name
        else result
        for result in results
    )


def _reason(result: Result) -> object:
    return (result.file, result.line) if result.file else result.message
