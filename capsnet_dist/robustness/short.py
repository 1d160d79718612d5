"""A network's robustness in three numbers, for tables of many networks."""

import statistics
from collections.abc import Callable

from torch import Tensor

from capsnet_dist.plugins import Model, Split
from capsnet_dist.robustness.measure import Plan, measure
from capsnet_dist.robustness.report import ALL, MEAN, rows
from capsnet_dist.robustness.transformations import ALL as ALL_AT_ONCE
from capsnet_dist.robustness.trial import Trial, chosen

PLAN = Plan(eps=(0.1,), steps=10, queries=100)


def in_short(model: Model, split: Split, still: Callable[[Tensor], Tensor], number: int) -> dict[str, float]:
    """How many images are right transformed, corrupted and attacked, in [0, 1].

    Args:
        model: The network.
        split: Images, some of which are drawn.
        still: What of them the network sees.
        number: How many are drawn, the same for every network.

    Returns:
        Those that are right in all of affNIST's ranges at once, under MNIST-C's corruptions on average, and under each
        of the attacks.
    """
    numbers = chosen(split, number, PLAN.seed)
    found = rows(measure(Trial(model, split.part(numbers), numbers, still), PLAN))
    (transformed,) = (row.share for row in found if row.name == ALL_AT_ONCE)
    (attacked,) = (row.share for row in found if row.name == ALL)
    corrupted = statistics.fmean(row.share for row in found if row.name == MEAN)
    return {"transformed": transformed, "corrupted": corrupted, "attacked": attacked}
