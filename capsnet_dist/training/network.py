"""The network of a training: built the same on all processes."""

from typing import cast

import torch
from accelerate import Accelerator

from capsnet_dist.data.order import derive
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import Image, Model
from capsnet_dist.run import Run
from capsnet_dist.saved.weights import build


def build_network(run: Run, image: Image, classes: tuple[str, ...], fit: Fit | None, accelerator: Accelerator) -> Model:
    """The network with its first weights, on the device of this process.

    Args:
        run: The configuration; weights follow from its seed.
        image: Channels, height and width.
        classes: Names of the classes.
        fit: How pictures became the images, if the data set says it.
        accelerator: The processes. Several on GPUs share the statistics of batch normalisation.
    """
    torch.manual_seed(derive(run.seed, "weights"))
    model = build(run.model, image, classes, fit).to(accelerator.device, getattr(torch, run.dtype))
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # PyTorch has it for GPUs only
        return cast(Model, torch.nn.SyncBatchNorm.convert_sync_batchnorm(model))
    return model
