"""What every learning-rate schedule must do."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.plugins import Schedule, schedules
from capsnet_dist.testing.common import PROCESS_LAWS
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law, require
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.subject import Inputs, Subject, Target

STEPS = 1000
LENGTHS = (1, 2, 3, 100, STEPS)
"""Trainings, in steps: the shortest ones are where a share of the steps is none."""


class ScheduleProbe(nn.Module):
    """A schedule as a function of a tensor of steps."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.plugin = schedule

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The factor at each step."""
        return (torch.tensor([self.plugin(step) for step in tensors[0].tolist()], dtype=torch.float64),)


class ScheduleSubject(Subject):
    """A schedule under test."""

    registry = schedules
    batched = frozenset({"steps"})

    def wrap(self, **options: Any) -> ScheduleProbe:
        """A new one, for a training of 1000 steps."""
        return ScheduleProbe(self.construct(STEPS, **options))

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
        """Random steps of the training."""
        return {"steps": torch.randint(STEPS, (batch,), generator=torch.Generator().manual_seed(seed))}

    def structure(self) -> tuple[Any, ...]:
        """The length of the training."""
        return (STEPS,)


def factors_are_shares_of_the_peak(subject: ScheduleSubject) -> None:
    """At every step of a training of any length, from one step on, the factor is a number from 0 to 1."""
    for steps in LENGTHS:
        schedule = subject.construct(steps)
        for step in range(steps):
            factor: Any = schedule(step)
            told = f"at step {step} of {steps} the factor is {factor!r}"
            require(isinstance(factor, int | float) and math.isfinite(factor) and 0 <= factor <= 1, told)


def some_step_learns(subject: ScheduleSubject) -> None:
    """In a training of any length the rate is above 0 at some step, else nothing is learnt."""
    for steps in LENGTHS:
        schedule = subject.construct(steps)
        require(any(schedule(step) > 0 for step in range(steps)), f"the factor is 0 at each of {steps} steps")


def peak_is_reached(subject: ScheduleSubject) -> None:
    """Some step of a training of a hundred steps or more has the rate that the user asked for."""
    for steps in LENGTHS[-2:]:
        schedule = subject.construct(steps)
        largest = max(schedule(step) for step in range(steps))
        require(abs(largest - 1) <= 1e-6, f"the largest factor of {steps} steps is {largest:.4g}")


def step_alone_decides(subject: ScheduleSubject) -> None:
    """A new one goes on at any step as the first would have: nothing of it is saved when a training is resumed."""
    first = subject.construct(STEPS)
    factors = [first(step) for step in range(STEPS)]
    for start in (STEPS - 1, STEPS // 2, 1, 0):
        again = subject.construct(STEPS)
        for step in (start, min(start + 1, STEPS - 1)):
            found = again(step)
            require(found == factors[step], f"at step {step} it gives {factors[step]!r}, and resumed there {found!r}")


LAWS: tuple[Law[Any], ...] = (
    Law(factors_are_shares_of_the_peak),
    Law(some_step_learns),
    Law(peak_is_reached, soft=True),
    Law(step_alone_decides),
    *PROCESS_LAWS,
)


def check_schedule(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a schedule on every law that schedules obey; the arguments are those of `check_routing`.

    Args:
        target: A class, a factory that takes the number of steps, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.
    """
    return check(ScheduleSubject(target), LAWS, only, expected_failures, on_fail)
