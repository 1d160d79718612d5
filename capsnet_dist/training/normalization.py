"""Mean and deviation of the training pixels, for a network that begins with them."""

from typing import cast

import torch
from accelerate import Accelerator
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.images.normalization import ByChannel
from capsnet_dist.plugins import Model, Split
from capsnet_dist.processes.watchdog import beat
from capsnet_dist.training.step_metrics import sum_over_processes

CHUNK = 2**24  # bytes of images that are counted at a time


def measure_pixels(model: Model, training: Split, accelerator: Accelerator) -> None:
    """Tell a network that asks for it what its training pixels are; every process counts its share of the images.

    Args:
        model: The network.
        training: The images it is trained on, and no others.
        accelerator: The processes.
    """
    if isinstance(model.pixel_normalization, ByChannel):
        counts = sum_over_processes(count_shades(training, accelerator), accelerator)
        model.pixel_normalization.measure(cast(list[list[int]], counts.tolist()))


def count_shades(split: Split, accelerator: Accelerator) -> Int64[Tensor, "c 256"]:
    """How often each shade occurs in each channel of the images that fall to this process, read a few at a time."""
    channels, height, width = split.images.shape[1:]
    where = split.labels.device if split.is_resident else torch.device("cpu")
    everything = torch.arange(len(split.labels), device=where)
    own = everything.tensor_split(accelerator.num_processes)[accelerator.process_index]
    counts = torch.zeros(channels, 256, dtype=torch.int64, device=split.labels.device)
    for indices in own.split(max(1, CHUNK // (channels * height * width))):
        beat()
        for channel, pixels in enumerate(split.images[indices].unbind(dim=1)):
            counts[channel] += pixels.flatten().bincount(minlength=256)
    return counts
