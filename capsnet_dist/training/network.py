"""The network of a training: built the same on all processes."""

from typing import cast

import torch
from accelerate import Accelerator

from capsnet_dist.config import to_dict
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import derive
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import Image, Model
from capsnet_dist.processes.memory import total_memory
from capsnet_dist.run import Run
from capsnet_dist.saved.size import LARGE, measure
from capsnet_dist.saved.weights import build, load
from capsnet_dist.screen.progress import say
from capsnet_dist.training.normalization import measure_pixels
from capsnet_dist.training.transfer import take_weights


def build_network(
    run: Run, batches: Batches, classes: tuple[str, ...], fit: Fit | None, accelerator: Accelerator
) -> Model:
    """The network with its first weights, on the device of this process.

    Args:
        run: The configuration; weights follow from its seed.
        batches: The training images.
        classes: Names of the classes.
        fit: How pictures became the images, if the data set says it.
        accelerator: The processes. Several on GPUs share the statistics of batch normalisation.

    Raises:
        UserError: the weights to start from cannot be loaded, or are those of another network; or its weights and their
            gradients do not fit into this machine.
    """
    _check_size(run, batches.image, len(classes), accelerator.device)
    torch.manual_seed(derive(run.seed, "weights"))
    model = build(run.model, batches.image, classes, fit, run.normalization)
    if run.start is not None:
        model.load_state_dict(_start(run.start, model).state_dict())
    model = model.to(accelerator.device, getattr(torch, run.dtype))
    if run.start is None:
        measure_pixels(model, batches.training, accelerator)
    if run.weights is not None:
        take_weights(run.weights, model)
    if accelerator.num_processes > 1 and accelerator.device.type == "cuda":  # PyTorch has it for GPUs only
        return cast(Model, torch.nn.SyncBatchNorm.convert_sync_batchnorm(model))
    return model


def _check_size(run: Run, image: Image, classes: int, device: torch.device) -> None:
    """Say it if a network is out of proportion, and refuse it if it cannot be trained here, before it takes memory.

    Raises:
        UserError: weights and gradients alone need more memory than there is.
    """
    try:
        size = measure(run.model, image, classes, getattr(torch, run.dtype))
    except UserError:  # building it says why
        return
    there = total_memory(device)
    ways = ["smaller images (--data.size 32)", "a larger stride", "a network made for large images"]
    if "pooling" in run.model.options:
        ways[1] = f"--model.pooling {int(run.model.options['pooling']) + 1}"
    mend = f"{ways[0]}, {ways[1]}, or {ways[2]}"
    told = (
        f"{run.model.name} for images of {'x'.join(map(str, image))} and {classes} classes has {size.parameters:,} "
        f"parameters, {100 * size.share:.0f} % of them in {size.largest}"
    )
    if 2 * size.weights > there:
        needed = f"weights and gradients take {2 * size.weights / 2**30:.1f} GiB of {there / 2**30:.1f} GiB"
        raise UserError(f"{told}: {needed}. Choose {mend}.")
    if size.parameters > LARGE:
        say(f"Warning: {told}: {size.training / 2**30:.1f} GiB while it is trained. Usual are {mend}.")


def _start(source: str, wanted: Model) -> Model:
    """The network to start from; with other options, the same weights would be another network."""
    found = load(source)
    held, own = (
        (to_dict(model.choice), model.image, len(model.classes), f"normalization {model.normalization}")
        for model in (found, wanted)
    )
    if held != own:
        raise UserError(
            f"--start {source} is another network than that of this run: {held!s:.1000}, and here {own!s:.1000}. "
            f"--config FOLDER/config.json takes its options, and --weights {source} only what fits."
        )
    return found
