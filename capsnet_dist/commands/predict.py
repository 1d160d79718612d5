"""`capsnet-dist predict`: what is in a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.data.image_files import fit_picture, read_picture
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Model
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import print_json, print_table


def predict(run: str, images: tuple[Path, ...], /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Name the class of image files, prepared as those that the network was trained with.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub.
        images: Image files.
        json: Print JSON, with the score of every class.
    """
    if not images:
        raise UserError("predict needs at least one image: capsnet-dist predict RUN IMAGE.")
    model = load(run)
    _, scores, names = model.predict(read_images(model, run, images))
    found: list[dict[str, Any]] = [
        {"file": str(file), "name": name, "score": max(row), "scores": dict(zip(model.classes, row, strict=True))}
        for file, name, row in zip(images, names, scores.tolist(), strict=True)
    ]
    rows = [[f["file"], f["name"], f"{f['score']:.3f}"] for f in found]
    print_json(found) if json else print_table(["file", "name", "score"], rows)


def read_images(model: Model, run: str, files: Sequence[Path]) -> UInt8[Tensor, "n c h w"]:
    """Image files as the network of a run takes them.

    Raises:
        UserError: one cannot be read.
    """
    fit = model.fit
    pixels = [read_picture(file, model.image) if fit is None else fit_picture(file, fit) for file in files]
    prepared = torch.stack(pixels)
    if prepared.shape[1:] != model.image:  # an augmentation cut what it was trained with
        prepared = TrainedRun(run).still(prepared)
    return prepared
