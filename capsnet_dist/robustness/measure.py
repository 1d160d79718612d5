"""Everything that is tried on a network, in turn."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from capsnet_dist.robustness.attacks import fgsm, pgd
from capsnet_dist.robustness.black_box import square
from capsnet_dist.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from capsnet_dist.robustness.masking import FGSM, PGD, SQUARE, TRANSFER, Found, flat_gradients, masked_gradients
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
    queries: int = 200
    """Of Square Attack; 0 leaves it out."""
    is_targeted: bool = False
    """Whether to attack towards other classes, too."""
    seed: int = 0
    """What all random numbers follow from."""

    def attacks(self, eps: float, other: Trial | None) -> dict[str, Attack]:
        """The attacks with one eps, by name.

        Args:
            eps: By how much a pixel may change.
            other: Another network, for whose gradients the images are changed, too.
        """
        climb = partial(pgd, eps=eps, steps=self.steps, restarts=self.restarts, seed=self.seed)
        found: dict[str, Attack] = {FGSM: partial(fgsm, eps=eps), PGD: climb}
        if self.queries:
            found[SQUARE] = partial(square, eps=eps, queries=self.queries, seed=self.seed)
        if other is not None:
            found[TRANSFER] = lambda scores, victims: climb(other.scores, victims, enough=math.inf)
        return found


def measure(trial: Trial, plan: Plan, settings: Mapping[str, Any], other: Trial | None = None) -> Report:
    """Try all that is planned, and say how far it is on standard error.

    Args:
        trial: The network and the images.
        plan: What is tried.
        settings: What the report says of them.
        other: Another network for the same images, whose adversarial images this one is to withstand.
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
        tried = _attacked(trial, plan, other, None)
        report.rows += _rows("attack", tried)
        report.findings += [*flat_gradients(trial), *masked_gradients(tried)]
        if plan.is_targeted:
            report.rows += _rows("target", _attacked(trial, plan, other, plan.seed))
    return report


def _changed(trial: Trial, kind: str, changes: Sequence[tuple[str, float | None, Change]]) -> list[Row]:
    """A row for each change of the pictures, with its name and level."""
    with _counted(trial, kind, len(changes)) as tried:
        return [Row(kind, name, level, tried.changed(change).share) for name, level, change in changes]


def _attacked(trial: Trial, plan: Plan, other: Trial | None, seed: int | None) -> Found:
    """What each attack finds with each eps; towards other classes where there is a seed for these."""
    attacks = {(name, eps): one for eps in plan.eps for name, one in plan.attacks(eps, other).items()}
    with _counted(trial, "attack" if seed is None else "target", len(attacks)) as tried:
        return {key: tried.attacked(one, seed=seed).right for key, one in attacks.items()}


def _rows(kind: str, found: Found) -> list[Row]:
    """A row for each attack, and one for all of them: what withstands each, or becomes what any wants."""
    rows = [Row(kind, name, eps, _share(right)) for (name, eps), right in found.items()]
    for eps in dict.fromkeys(eps for _, eps in found):
        together = torch.stack([right for (_, level), right in found.items() if level == eps])
        whole = together.all(dim=0) if kind == "attack" else together.any(dim=0)
        rows.append(Row(kind, "all attacks", eps, _share(whole)))
    return rows


def _share(right: Bool[Tensor, " n"]) -> float:
    return right.float().mean().item()


@contextmanager
def _counted(trial: Trial, what: str, number: int) -> Generator[Trial]:
    """A trial that shows how far it is with so many changes."""
    with counting(f"{what}, batches", number * trial.num_batches) as done:
        yield replace(trial, done=done)
