"""The place where capsule networks are trained."""

import os

# Read when torch is loaded: its threads that wait for work soon leave their cores to those that route.
os.environ.setdefault("GOMP_SPINCOUNT", "30000")

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
from capsnet_dist.version import VERSION
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
