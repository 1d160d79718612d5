"""The registry of each kind of plugin."""

import torch

from capsnet_dist.plugins.dataset import Dataset
from capsnet_dist.plugins.model import Model
from capsnet_dist.plugins.parts import Decoder, Layer, Primary, Routing, Stem
from capsnet_dist.plugins.training import Augmentation, Loss, Schedule
from capsnet_dist.registry import Registry

routings = Registry[Routing](
    "routing",
    structure=("parts", "part_dim", "wholes", "dim"),
    builtin="capsnet_dist.routing",
    group="capsnet_dist.routings",
)
stems = Registry[Stem]("stem", structure=("image",), builtin="capsnet_dist.stem", group="capsnet_dist.stems")
primaries = Registry[Primary](
    "primary", structure=("maps",), builtin="capsnet_dist.layer", group="capsnet_dist.primaries"
)
layers = Registry[Layer]("layer", structure=("inputs",), builtin="capsnet_dist.layer", group="capsnet_dist.layers")
decoders = Registry[Decoder](
    "decoder", structure=("image", "classes", "dim"), builtin="capsnet_dist.layer", group="capsnet_dist.decoders"
)
models = Registry[Model](
    "model", structure=("image", "classes"), builtin="capsnet_dist.model", group="capsnet_dist.models"
)
losses = Registry[Loss]("loss", structure=(), builtin="capsnet_dist.loss", group="capsnet_dist.losses")
datasets = Registry[Dataset]("dataset", structure=(), builtin="capsnet_dist.data", group="capsnet_dist.datasets")
augmentations = Registry[Augmentation](
    "augmentation", structure=(), builtin="capsnet_dist.data", group="capsnet_dist.augmentations"
)
optimizers = Registry[torch.optim.Optimizer](
    "optimizer", structure=("parameters", "lr"), builtin="capsnet_dist.optim", group="capsnet_dist.optimizers"
)
schedules = Registry[Schedule](
    "schedule", structure=("steps",), builtin="capsnet_dist.optim", group="capsnet_dist.schedules"
)

REGISTRIES = (
    routings,
    layers,
    primaries,
    stems,
    decoders,
    models,
    losses,
    datasets,
    augmentations,
    optimizers,
    schedules,
)
