"""Capsule networks in PyTorch: routings, layers, losses and networks by name, trained with Accelerate.

Each name is imported when it is first asked for: PyTorch takes seconds, and `capsnet-dist --version` does without.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from capsnet_dist.version import VERSION

# Read when torch is loaded: its threads that wait for work soon leave their cores to those that route.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

if TYPE_CHECKING:
    from capsnet_dist.capsules import Capsules, Grid, lengths, squash
    from capsnet_dist.data.given import from_arrays, from_dataset
    from capsnet_dist.errors import UserError
    from capsnet_dist.images.fit import Fit
    from capsnet_dist.plugins import (
        Decoder,
        Image,
        Layer,
        Model,
        Output,
        Prediction,
        Primary,
        Routing,
        Split,
        Stem,
        augmentations,
        datasets,
        decoders,
        layers,
        losses,
        models,
        optimizers,
        primaries,
        routings,
        schedules,
        stems,
    )
    from capsnet_dist.registry import Choice, Registry
    from capsnet_dist.saved.weights import build, load, save
    from capsnet_dist.votes import Votes

__version__ = VERSION

__all__ = [
    "Capsules",
    "Choice",
    "Decoder",
    "Fit",
    "Grid",
    "Image",
    "Layer",
    "Model",
    "Output",
    "Prediction",
    "Primary",
    "Registry",
    "Routing",
    "Split",
    "Stem",
    "UserError",
    "Votes",
    "augmentations",
    "build",
    "datasets",
    "decoders",
    "from_arrays",
    "from_dataset",
    "layers",
    "lengths",
    "load",
    "losses",
    "models",
    "optimizers",
    "primaries",
    "routings",
    "save",
    "schedules",
    "squash",
    "stems",
]

_PLACES = {
    "capsules": "Capsules Grid lengths squash",
    "data.given": "from_arrays from_dataset",
    "errors": "UserError",
    "images.fit": "Fit",
    "registry": "Choice Registry",
    "saved.weights": "build load save",
    "votes": "Votes",
    "plugins": "Decoder Image Layer Model Output Prediction Primary Routing Split Stem augmentations "
    "datasets decoders layers losses models optimizers primaries routings schedules stems",
}
"""Where each name is defined; the same as above, which type checkers read."""


def __getattr__(name: str) -> Any:
    """Import what is exported when it is first asked for."""
    for module, names in _PLACES.items():
        if name in names.split():
            globals()[name] = found = getattr(import_module(f"capsnet_dist.{module}"), name)
            return found
    raise AttributeError(f"module 'capsnet_dist' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
