"""Trying laws on a plugin."""

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Generator, Iterable, Mapping, Set
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from capsnet_dist.origin import Place, place_of, raised
from capsnet_dist.testing import global_state
from capsnet_dist.testing.law import Broken, Law, Skipped, select
from capsnet_dist.testing.report import ChecksFailed, Report, Result, Status, group
from capsnet_dist.testing.subject import Subject

OnFail = Literal["raise", "report"]
TORCH = str(Path(torch.__file__).parent) + os.sep


class Outcome(NamedTuple):
    """How a law ended."""

    status: Status
    message: str = ""
    place: Place | None = None


def check(
    subject: Subject,
    laws: Iterable[Law[Any]],
    only: Iterable[str] | None,
    expected_failures: Mapping[str, str],
    on_fail: OnFail,
) -> Report:
    """Try the laws on a plugin, which may say itself which of them it breaks by design, in `expected_failures`."""
    laws = list(laws)
    expected = {**getattr(subject.plugin, "expected_failures", {}), **expected_failures}
    select(laws, expected)
    report = Report(subject.registry.kind, subject.name, conduct(subject, select(laws, only), expected))
    if on_fail == "raise" and report.failed:
        raise ChecksFailed(report)
    return report


def conduct(subject: Subject, laws: Iterable[Law[Any]], expected: Mapping[str, str]) -> tuple[Result, ...]:
    """Try each law; `expected` gives the reason why some do not hold."""
    failed, results = set[str](), list[Result]()
    with _quiet():
        for law in laws:
            results.append(_try(subject, law, expected.get(law.name), failed))
            failed |= {law.name} if results[-1].status == "failed" else set()
    return group(results)


def _try(subject: Subject, law: Law[Any], expected: str | None, failed: Set[str]) -> Result:
    start = time.perf_counter()
    missing = next((before.__name__ for before in law.after if before.__name__ in failed), None)
    outcome = Outcome("skipped", f"{missing} comes first") if missing else _outcome(subject, law)
    if expected is not None and outcome.status in ("failed", "noted"):
        outcome = Outcome("expected", f"{expected} ({outcome.message})")
    elif expected is not None and outcome.status == "passed":
        outcome = Outcome("failed", f"it was expected to fail ({expected}) and does not: expect it no longer")
    file, line = outcome.place or (None, None)
    return Result(law.name, outcome.status, outcome.message, law.sentence, time.perf_counter() - start, file, line)


def _outcome(subject: Subject, law: Law[Any]) -> Outcome:
    broken: Status = "noted" if law.soft else "failed"
    try:
        with global_state.kept():
            global_state.seed(0)
            law.check(subject)
    except Skipped as reason:
        return Outcome("skipped", str(reason))
    except Broken as error:
        return Outcome(broken, str(error), place_of(error, subject.made))
    except Exception as error:  # whatever the plugin raises, it is the plugin that fails
        return Outcome(broken, raised(error), place_of(error, subject.made))
    return Outcome("passed")


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Keep back what is logged, which the report tells, and say each warning that is not PyTorch's once, at the end."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logging.disable(disabled)
    for warning in {(str(w.message), w.filename, w.lineno): w for w in caught}.values():
        if not warning.filename.startswith(TORCH):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
