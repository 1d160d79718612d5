"""Images above what a network rebuilds from them."""

from pathlib import Path

import torch

from capsnet_dist.figures.sheet import evaluating, save_sheet
from capsnet_dist.plugins import Model, Split, to_unit


@torch.no_grad()
def save_reconstructions(model: Model, split: Split, file: Path, num_images: int = 16) -> bool:
    """Images in the upper row, what the network rebuilds from their predicted class below.

    Returns:
        Whether there is a picture: not without a decoder.
    """
    images = to_unit(split.images[:num_images], next(model.parameters()).dtype)
    with evaluating(model):
        rebuilt = model(images).reconstruction
    if rebuilt is not None:
        save_sheet(torch.stack([images, rebuilt]), file)
    return rebuilt is not None
