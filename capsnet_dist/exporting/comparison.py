"""What a file computes, compared with what the network does: no file is left that computes anything else."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from capsnet_dist.errors import UserError

BATCHES = (1, 2, 5)

Computed = Callable[[Mapping[str, Tensor]], Mapping[str, np.ndarray]]
"""Inputs by name to outputs by name."""


class Case(NamedTuple):
    """What should come out."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    """Of those that are compared."""


def compare(computed: Computed, cases: Sequence[Case], tolerance: float) -> float:
    """The largest difference, relative to the largest number of an output where that is above 1.

    Args:
        computed: What the file does.
        cases: What it should.
        tolerance: The largest difference that is allowed.

    Raises:
        UserError: it is larger.
    """
    found = float(np.max([_difference(computed(case.inputs), case.outputs) for case in cases]))  # hands on NaN
    if not found <= tolerance:
        raise UserError(
            f"What was exported differs from the network by {found:.2g}, more than {tolerance:g}: nothing is written."
        )
    return found


def _difference(found: Mapping[str, np.ndarray], expected: Mapping[str, Tensor]) -> float:
    differences: list[float] = []
    for name, numbers in expected.items():
        assert found[name].shape == tuple(numbers.shape)
        scale = max(1.0, float(numbers.abs().max()))
        differences.append(float(np.abs(found[name] - numbers.numpy()).max()) / scale)
    return float(np.max(differences))
