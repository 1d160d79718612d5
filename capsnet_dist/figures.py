"""Pictures of a run: reconstructions, loss curves, confusion. What draws them is imported when there is one."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from einops import einsum, rearrange, repeat
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.plugins import Model, Split, to_unit

SMALLEST_SIDE = 48  # pixels: smaller images are enlarged, so that a person sees something


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
        _save_sheet(torch.stack([images, rebuilt]), file)
    return rebuilt is not None


@torch.no_grad()
def save_poses(model: Model, split: Split, file: Path, reach: float = 0.25) -> float | None:
    """What each number of a pose stands for (Sabour et al., 2017, figure 4): one row a number, moved in eleven steps.

    Args:
        model: The network.
        split: The first image is rebuilt.
        file: Where the picture goes.
        reach: How far the number is moved down and up; the paper's value.

    Returns:
        How much a pixel changes between the ends of a row, on average over the image; None without a decoder.
    """
    images = to_unit(split.images[:1], next(model.parameters()).dtype)
    model.eval()
    scores, poses, _ = model(images)
    dim = poses.shape[-1]
    moves = torch.linspace(-reach, reach, 11, device=poses.device, dtype=poses.dtype)
    changes = einsum(torch.eye(dim, device=poses.device, dtype=poses.dtype), moves, "r d, m -> r m d")
    moved = poses + rearrange(changes, "r m d -> (r m) 1 d")
    rebuilt = model.rebuild(moved, scores.argmax(dim=-1).expand(len(moved)))
    model.train()
    if rebuilt is None:
        return None
    sheet = rearrange(rebuilt, "(r m) c h w -> r m c h w", r=dim)
    _save_sheet(sheet, file)
    return float((sheet[:, -1] - sheet[:, 0]).abs().mean())


def _save_sheet(images: Float[Tensor, "r m c h w"], file: Path) -> None:
    """Rows of images, as a PNG; channels beyond the colours are left out."""
    from torchvision.utils import save_image

    factor = max(1, -(-SMALLEST_SIDE // images.shape[-1]))
    shown = images[:, :, :3] if images.shape[2] >= 3 else images[:, :, :1]
    tiles = repeat(shown, "r m c h w -> (r m) c (h y) (w x)", y=factor, x=factor)
    save_image(tiles.float(), file, nrow=images.shape[1], padding=2)


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
        axes.set(xlabel="step", ylabel=quantity)
        if quantity == "loss":
            axes.set(yscale="log")
            _number_plainly(axes.yaxis)
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
                    axes.text(column, row, count, ha="center", va="center", fontsize=7, color=color, in_layout=False)
    figure.savefig(file, dpi=120)


def save_comparison(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """What each routing achieves and takes, side by side; rows as `capsnet_dist.compare` makes them."""
    from matplotlib.figure import Figure

    panels = {"accuracy": "test accuracy", "images_per_second": "images/s", "memory": "memory, MiB"}
    panels |= {"entropy": "entropy of the couplings"}
    figure = Figure(figsize=(11, 1.2 + 0.35 * len(rows)), layout="constrained")
    names = [row["routing"] for row in reversed(rows)]  # bars are counted from below
    for axes, (key, label) in zip(figure.subplots(1, len(panels), sharey=True), panels.items(), strict=True):
        values = [row[key] or 0 for row in reversed(rows)]
        spread = [row["deviation"] or 0 for row in reversed(rows)] if key == "accuracy" else None
        axes.barh(names, values, xerr=spread, height=0.6, color="tab:blue", ecolor="black", capsize=3)
        axes.set(xlabel=label)
        axes.locator_params(axis="x", nbins=4)
    figure.savefig(file, dpi=120)


def save_scaling(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Time and memory over sizes, on logarithmic axes, with the power laws; rows as `capsnet_dist.bench` makes them."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["axis"] for row in rows))
    figure = Figure(figsize=(9, 3.2 * len(names)), layout="constrained")
    for name, panels in zip(names, figure.subplots(len(names), 2, squeeze=False), strict=True):
        shown = [row for row in rows if row["axis"] == name]
        _plot_power_laws(panels[0], shown, "seconds", "time", 1e3)
        _plot_power_laws(panels[1], shown, "bytes", "memory", 2**-20)
        panels[0].set(xlabel=f"number of {name}", ylabel="time, ms")
        panels[1].set(xlabel=f"number of {name}", ylabel="memory, MiB")
    figure.savefig(file, dpi=120)


def _plot_power_laws(axes: Any, rows: Sequence[Mapping[str, Any]], key: str, law: str, scale: float) -> None:
    """What was measured as dots, the law as a line; a value of zero has no logarithm and is left out."""
    for color, row in enumerate(rows):
        fit = row["laws"][law]
        if fit:
            points = [(size, scale * value) for size, value in zip(row["sizes"], row[key], strict=True) if value > 0]
            curve = [(size, scale * fit["factor"] * size ** fit["exponent"]) for size in row["sizes"]]
            curve = [(size, value) for size, value in curve if 1e-9 < value < 1e12]  # a fit to noise can be absurd
            label = f"{row['candidate']}: {fit['exponent']:.2f}"
            axes.loglog(*zip(*points, strict=True), "o", color=f"C{color}", markersize=4)
            axes.loglog(
                [size for size, _ in curve], [value for _, value in curve], color=f"C{color}", lw=1, label=label
            )
    sizes = sorted({size for row in rows for size in row["sizes"]})
    axes.set_xscale("log")
    _number_plainly(axes.yaxis)
    axes.set_xticks(sizes, map(str, sizes))
    axes.set_xticks([], minor=True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(title="exponent", frameon=False, fontsize=7, title_fontsize=7)


def _number_plainly(axis: Any) -> None:
    """Numbers of a logarithmic axis as 0.2 and not as a product with a power, for which a formula would be set."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(Plain())
    axis.set_minor_formatter(Plain())
