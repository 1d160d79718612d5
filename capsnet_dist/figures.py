"""Pictures of a run: reconstructions, loss curves, confusion."""

import json
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Int64
from torch import Tensor
from torchvision.utils import save_image

from capsnet_dist.plugins import Model, Split, to_unit


@torch.no_grad()
def save_reconstructions(model: Model, split: Split, file: Path, num_images: int = 16) -> bool:
    """Images in the upper row, what the network rebuilds from their predicted class below.

    Returns:
        Whether there is a picture: not without a decoder.
    """
    images = to_unit(split.images[:num_images], next(model.parameters()).dtype)
    model.eval()
    rebuilt = model(images).reconstruction
    model.train()
    if rebuilt is not None:
        rows = rearrange([images, rebuilt], "r b c h w -> (r b) c h w")
        save_image(rows.float(), file, nrow=len(images), padding=1)
    return rebuilt is not None


def save_curves(metrics: Path, file: Path) -> None:
    """Loss and accuracy over the steps."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for split, weights, style in (("train", None, "-"), ("validation", "last", "o-"), ("validation", "ema", "s-")):
            chosen = [line for line in lines if line["split"] == split and line.get("weights") == weights]
            label = split if weights is None else f"{split}, {weights} weights"
            axes.plot(
                [c["step"] for c in chosen], [c[quantity] for c in chosen], style, label=label, markersize=3, lw=1
            )
        axes.set(xlabel="step", ylabel=quantity, yscale="log" if quantity == "loss" else "linear")
        axes.legend(frameon=False)
    figure.savefig(file, dpi=120)


def save_confusion(confusion: Int64[Tensor, "true predicted"], classes: tuple[str, ...], file: Path) -> None:
    """How often each true class was predicted as each class."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(confusion.double().log1p().numpy(), cmap="Blues")
    axes.set(xlabel="predicted", ylabel="true", xticks=range(len(classes)), yticks=range(len(classes)))
    axes.set(xticklabels=classes, yticklabels=classes)
    if len(classes) <= 20:
        for row, counts in enumerate(confusion.tolist()):
            for column, count in enumerate(counts):
                if count:
                    color = "white" if row == column else "black"
                    axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=color)
    figure.savefig(file, dpi=120)
