"""Files of torch.export: for programs that have PyTorch and not this package."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capsnet_dist.exporting.comparison import Computed
from capsnet_dist.exporting.parts import Traced

METADATA = "network.json"
"""Name of the metadata in the file: `torch.export.load(file, extra_files=...)` reads it."""


def write(traced: Traced, metadata: Mapping[str, str], file: Path) -> None:
    """Write a graph and its weights.

    Raises:
        OSError: it cannot be written.
    """
    torch.export.save(traced.program, file, extra_files={METADATA: json.dumps(dict(metadata))})


def runner(file: Path) -> Computed:
    """What a file computes, loaded again."""
    module = torch.export.load(file).module()

    def computed(inputs: Mapping[str, Tensor]) -> Mapping[str, np.ndarray]:
        return {name: numbers.detach().numpy() for name, numbers in module(**inputs).items()}

    return computed
