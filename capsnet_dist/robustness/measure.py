"""Everything that is tried on a network, in turn."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from capsnet_dist.robustness.attacks import fgsm, pgd
from capsnet_dist.robustness.black_box import square
from capsnet_dist.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from capsnet_dist.robustness.masking import FGSM, PGD, SQUARE, TRANSFER
from capsnet_dist.robustness.transformations import transformations
from capsnet_dist.robustness.trial import UNCHANGED, Attack, Change, Key, Trial, Tried, augmented
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


def measure(trial: Trial, plan: Plan, other: Trial | None = None) -> dict[Key, Tried]:
    """Try all that is planned, and say how far it is on standard error.

    Args:
        trial: The network and the images.
        plan: What is tried.
        other: Another network for the same images, whose adversarial images this one is to withstand.

    Returns:
        What became of the images under each change; `UNCHANGED` comes first.
    """
    tried = {UNCHANGED: trial.changed(lambda images, numbers: images)}
    if "transformations" in plan.kinds:
        changes = {(name, None): augmented(one, plan.seed) for name, one in transformations().items()}
        tried |= _changed(trial, "transformation", changes)
    if "corruptions" in plan.kinds:
        named = itertools.product(CORRUPTIONS, SEVERITIES)
        changes = {(name, float(level)): corrupted(name, level, plan.seed) for name, level in named}
        tried |= _changed(trial, "corruption", changes)
    if "attacks" in plan.kinds:
        tried |= _attacked(trial, plan, other, "attack", None)
        if plan.is_targeted:
            tried |= _attacked(trial, plan, other, "target", plan.seed)
    return tried


def _changed(trial: Trial, kind: str, changes: Mapping[Any, Change]) -> dict[Key, Tried]:
    """What becomes of pictures under each change, by name and level."""
    with _counted(trial, kind, len(changes)) as counted:
        return {(kind, *key): counted.changed(change) for key, change in changes.items()}


def _attacked(trial: Trial, plan: Plan, other: Trial | None, kind: str, seed: int | None) -> dict[Key, Tried]:
    """What becomes of images under each attack with each eps; towards other classes where there is a seed for these."""
    attacks = {(kind, name, eps): one for eps in plan.eps for name, one in plan.attacks(eps, other).items()}
    with _counted(trial, kind, len(attacks)) as counted:
        return {key: counted.attacked(one, seed=seed) for key, one in attacks.items()}


@contextmanager
def _counted(trial: Trial, what: str, number: int) -> Generator[Trial]:
    """A trial that shows how far it is with so many changes."""
    with counting(f"{what}, batches", number * trial.num_batches) as done:
        yield replace(trial, done=done)
