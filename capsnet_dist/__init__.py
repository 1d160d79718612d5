"""The place where capsule networks are trained."""

from capsnet_dist.capsules import Capsules, lengths, squash
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import (
    Image,
    Model,
    Output,
    Prediction,
    Routing,
    Split,
    augmentations,
    datasets,
    decoders,
    layers,
    losses,
    models,
    optimizers,
    routings,
    schedules,
)
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.votes import Votes
from capsnet_dist.weights import build, load, save

__version__ = "0.1.0"

__all__ = [
    "Capsules",
    "Choice",
    "Image",
    "Model",
    "Output",
    "Prediction",
    "Registry",
    "Routing",
    "Split",
    "UserError",
    "Votes",
    "augmentations",
    "build",
    "datasets",
    "decoders",
    "layers",
    "lengths",
    "load",
    "losses",
    "models",
    "optimizers",
    "routings",
    "save",
    "schedules",
    "squash",
]
