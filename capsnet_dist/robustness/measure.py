"""Everything that is tried on a network, in turn."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from capsnet_dist.robustness.attacks import fgsm, pgd
from capsnet_dist.robustness.report import Report, Row
from capsnet_dist.robustness.transformations import transformations
from capsnet_dist.robustness.trial import Attack, Trial, augmented
from capsnet_dist.screen.counting import counting

Kind = Literal["transformations", "attacks"]
"""What can be tried."""
KINDS: tuple[Kind, ...] = ("transformations", "attacks")


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
    clean = trial.changed(lambda images, numbers: images)
    report = Report(settings, len(trial.numbers), clean.share)
    if "transformations" in plan.kinds:
        changes = transformations()
        with _counted(trial, "transformed", len(changes)) as tried:
            found = {name: tried.changed(augmented(change, plan.seed)) for name, change in changes.items()}
        report.rows += [Row("transformation", name, None, one.share) for name, one in found.items()]
    if "attacks" in plan.kinds:
        for kind in ("attack", "target") if plan.is_targeted else ("attack",):
            seed = plan.seed if kind == "target" else None
            planned = {(name, eps): one for eps in plan.eps for name, one in plan.attacks(eps).items()}
            with _counted(trial, "attacked", len(planned)) as tried:
                shares = {key: tried.attacked(one, seed=seed).share for key, one in planned.items()}
            report.rows += [Row(kind, name, eps, share) for (name, eps), share in shares.items()]
    return report


@contextmanager
def _counted(trial: Trial, what: str, number: int) -> Generator[Trial]:
    """A trial that shows how far it is with so many changes."""
    with counting(f"{what} batches", number * trial.num_batches) as done:
        yield replace(trial, done=done)
