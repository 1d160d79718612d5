"""Everything that is tried on a network, in turn."""

import itertools
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from capsnet_dist.robustness.attacks import fgsm, pgd
from capsnet_dist.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from capsnet_dist.robustness.report import Report, Row, with_means
from capsnet_dist.robustness.transformations import transformations
from capsnet_dist.robustness.trial import Attack, Change, Trial, augmented
from capsnet_dist.screen.counting import counting

Kind = Literal["transformations", "corruptions", "attacks"]
"""What can be tried."""
KINDS: tuple[Kind, ...] = ("transformations", "corruptions", "attacks")


@dataclass(frozen=True)
class Plan:
    """What is tried on a network, and how hard."""

    kinds: Sequence[Kind] = KINDS
    """What is tried."""
    eps: tuple[float, ...] = (0.03, 0.1, 0.3)
    """By how much attacks may change a pixel, of 1."""
    steps: int = 20
    """Of PGD, from each start."""
    restarts: int = 1
    """Starts of PGD."""
    is_targeted: bool = False
    """Whether to attack towards other classes, too."""
    seed: int = 0
    """What all random numbers follow from."""

    def attacks(self, eps: float) -> Mapping[str, Attack]:
        """The attacks with one eps, by name."""
        climb = partial(pgd, eps=eps, steps=self.steps, restarts=self.restarts, seed=self.seed)
        return {"FGSM": partial(fgsm, eps=eps), f"PGD, {self.steps} steps": climb}


def measure(trial: Trial, plan: Plan, settings: Mapping[str, Any]) -> Report:
    """Try all that is planned, and say how far it is on standard error.

    Args:
        trial: The network and the images.
        plan: What is tried.
        settings: What the report says of them.
    """
    report = Report(settings, len(trial.numbers), trial.changed(lambda images, numbers: images).share)
    if "transformations" in plan.kinds:
        changes = [(name, None, augmented(one, plan.seed)) for name, one in transformations().items()]
        report.rows += _changed(trial, "transformation", changes)
    if "corruptions" in plan.kinds:
        named = itertools.product(CORRUPTIONS, SEVERITIES)
        changes = [(name, float(level), corrupted(name, level, plan.seed)) for name, level in named]
        report.rows += with_means(_changed(trial, "corruption", changes), "mean of all")
    if "attacks" in plan.kinds:
        report.rows += _attacked(trial, plan, "attack", None)
        if plan.is_targeted:
            report.rows += _attacked(trial, plan, "target", plan.seed)
    return report


def _changed(trial: Trial, kind: str, changes: Sequence[tuple[str, float | None, Change]]) -> list[Row]:
    """A row for each change of the pictures, with its name and level."""
    with _counted(trial, kind, len(changes)) as tried:
        return [Row(kind, name, level, tried.changed(change).share) for name, level, change in changes]


def _attacked(trial: Trial, plan: Plan, kind: str, seed: int | None) -> list[Row]:
    """A row for each attack, with each eps."""
    attacks = [(name, eps, one) for eps in plan.eps for name, one in plan.attacks(eps).items()]
    with _counted(trial, kind, len(attacks)) as tried:
        return [Row(kind, name, eps, tried.attacked(one, seed=seed).share) for name, eps, one in attacks]


@contextmanager
def _counted(trial: Trial, what: str, number: int) -> Generator[Trial]:
    """A trial that shows how far it is with so many changes."""
    with counting(f"{what}, batches", number * trial.num_batches) as done:
        yield replace(trial, done=done)
