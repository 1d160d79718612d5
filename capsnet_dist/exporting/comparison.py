"""What a file computes against what the network computes: no file is written that does not say the same."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from capsnet_dist.errors import UserError

BATCHES = (1, 2, 5)
TOLERANCE = 1e-4
"""Largest difference of an output, of its largest number where that is above 1: rounding, and no more, stays below."""

Computed = Callable[[Mapping[str, Tensor]], Mapping[str, np.ndarray]]
"""Inputs by name to outputs by name."""


@torch.no_grad()
def compare(module: nn.Module, computed: Computed, inputs: Mapping[str, Tensor]) -> float:
    """The largest difference over batches of 1, 2 and 5 samples, relative to the largest number where that is above 1.

    Args:
        module: What was exported.
        computed: What the file does.
        inputs: Arguments of both, with five samples.

    Raises:
        UserError: they differ by more than `TOLERANCE`.
    """
    found = max(_difference(module, computed, {key: x[:size] for key, x in inputs.items()}) for size in BATCHES)
    if not found <= TOLERANCE:  # not a number is not below
        raise UserError(
            f"What was exported differs from the network by {found:.2g}, more than {TOLERANCE:g}: nothing is written."
        )
    return found


def _difference(module: nn.Module, computed: Computed, inputs: Mapping[str, Tensor]) -> float:
    expected, found = module(**inputs), computed(inputs)
    differences: list[float] = []
    for name, numbers in expected.items():
        scale = max(1.0, float(numbers.abs().max()))
        differences.append(float(np.abs(found[name] - numbers.numpy()).max()) / scale)
    return float(np.max(differences))  # which hands on what is not a number
