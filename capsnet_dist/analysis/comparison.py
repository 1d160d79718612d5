"""What each routing or network of a comparison achieved, over its seeds and against the baseline."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from capsnet_dist.run import Run

ROBUSTNESS = {"transformed": "transformed, %", "corrupted": "corrupted, %", "attacked": "attacked, %"}
"""What is measured where it is asked for, and its columns."""
MEANS = ("accuracy", "calibration", "images_per_second", "entropy", "dead", *ROBUSTNESS)
"""What each seed measures, or may measure, of which a row has the mean."""


@dataclass(frozen=True)
class Comparison:
    """What the runs of a comparison share."""

    run: Run
    """The first of them."""
    kind: str
    """In what they differ: "routing" or "network"."""
    baseline: str
    """Which of them the others are compared with; "" if there is none."""
    command: str = ""
    """What started them."""


@dataclass(frozen=True)
class Row:
    """What one routing or network achieved."""

    name: str
    """Its name, with the options that differ."""
    seeds: int
    """How many runs succeeded."""
    accuracy: float | None = None
    """Mean test accuracy of the selected weights, in [0, 1]."""
    deviation: float | None = None
    """Its standard deviation over the seeds (of a sample: n - 1); None for one seed."""
    calibration: float | None = None
    """Expected calibration error of the highest score, in [0, 1]; mean over the seeds."""
    images_per_second: float | None = None
    """Images in a step over the median time between two steps; mean over the seeds."""
    speed: float | None = None
    """Steps a second over those of the baseline: timed in turns when all runs are done, the median of rounds; where a
    launcher starts the runs, or some of them failed, what the same seeds measured meanwhile, their
    geometric mean."""
    memory: float | None = None
    """Highest MiB until the last step: allocated on the GPU, or else resident, libraries too; largest of the seeds."""
    parameters: int | None = None
    """Weights of the whole network, decoder included."""
    entropy: float | None = None
    """How evenly the last couplings share a part out: 1 over all wholes alike, 0 to one alone; mean over the seeds."""
    dead: float | None = None
    """Share of the wholes that are active for no test image; mean over the seeds."""
    transformed: float | None = None
    """Share of images that are right in affNIST's ranges, where it was asked for; a mean over the seeds."""
    corrupted: float | None = None
    """The same of MNIST-C's corruptions, all severities alike."""
    attacked: float | None = None
    """The same under each of the attacks."""
    difference: float | None = None
    """Mean difference of the accuracy to that of the baseline, over the seeds of both; None for the baseline."""
    margin: float | None = None
    """Half the width of its confidence interval of 95 %, by Student's t of paired differences; None for one pair."""
    problem: str = ""
    """Why runs failed, when some did."""
    failed: int = 0
    """How many did."""
    guesses: int = 0
    """How many runs are no better than always answering with the largest class, up to luck."""

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval of its difference to the baseline leaves out zero."""
        return self.difference is not None and self.margin is not None and abs(self.difference) > self.margin


Tries = Sequence[Mapping[str, Any]]
"""What each seed measured, or its "problem"."""


def summarize(tries: Mapping[str, Tries], baseline: str) -> list[Row]:
    """What the runs of each come to, and how they differ from those of the baseline with the same seeds."""
    return [_against(_row(name, own), own, tries.get(baseline, [])) for name, own in tries.items() if own]


def _against(row: Row, own: Tries, baseline: Tries) -> Row:
    """The row with what differs from the same seeds of the baseline, where both succeeded."""
    pairs = [pair for pair in zip(own, baseline, strict=False) if not any("problem" in found for found in pair)]
    timed = [pair for pair in pairs if all(found["images_per_second"] for found in pair)]
    if timed:
        ratios = [mine["images_per_second"] / theirs["images_per_second"] for mine, theirs in timed]
        row = replace(row, speed=statistics.geometric_mean(ratios))  # which turns over with the baseline
    if own is baseline or not pairs:
        return row
    differences = [mine["accuracy"] - theirs["accuracy"] for mine, theirs in pairs]
    return replace(row, difference=statistics.fmean(differences), margin=_margin(differences))


def _margin(differences: Sequence[float]) -> float | None:
    from scipy.stats import t

    if len(differences) < 2:
        return None
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return float(t.ppf(0.975, len(differences) - 1)) * error


def _row(name: str, tries: Tries) -> Row:
    good = [found for found in tries if "problem" not in found]
    problem = next((found["problem"] for found in tries if "problem" in found), "")
    if not good:
        return Row(name, 0, problem=problem, failed=len(tries))

    def mean(key: str) -> float | None:
        values = [found[key] for found in good if found.get(key) is not None]
        return statistics.fmean(values) if values else None

    return Row(
        name=name,
        seeds=len(good),
        deviation=statistics.stdev(found["accuracy"] for found in good) if len(good) > 1 else None,
        memory=max(found["memory"] for found in good),
        parameters=good[0]["parameters"],
        problem=problem,
        failed=len(tries) - len(good),
        guesses=sum(found["accuracy"] <= found.get("luck", -1.0) for found in good),
        **{key: mean(key) for key in MEANS},
    )
