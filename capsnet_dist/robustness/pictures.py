"""Pictures of what was tried: accuracies, the rejection of changed images, and the images themselves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from capsnet_dist.figures.canvas import theme
from capsnet_dist.figures.robustness import changed, robustness
from capsnet_dist.robustness.rejection import roc
from capsnet_dist.robustness.report import ALL, MEAN, Report, label
from capsnet_dist.robustness.trial import UNCHANGED, Key, Tried

KINDS = {"transformation": "transformed", "corruption": "corrupted, severity 5", "attack": "", "foreign": ""}
"""Of what there are curves: all of a kind in one, or one for each."""


def draw(report: Report, tried: Mapping[Key, Tried], folder: Path) -> None:
    """Write robustness.png and images.png.

    Args:
        report: The report.
        tried: What it is of.
        folder: Where the files go.
    """
    attacks: dict[str, list[tuple[float, float]]] = {}
    shares: dict[str, list[float]] = {}
    for row in report.rows:
        if row.kind == "attack" and row.level is not None:
            attacks.setdefault(row.name, []).append((row.level, row.share))
        if row.kind in ("transformation", "corruption"):
            shares.setdefault("mean of all corruptions" if row.name == MEAN else row.name, []).append(row.share)
    changes = {name: sum(each) / len(each) for name, each in shares.items()}
    strongest = {(kind, name): (kind, name, level) for kind, name, level in tried if kind != "target"}
    with theme("light"):
        curves = _curves(tried)
        if attacks or changes or curves:
            robustness(report.accuracy, attacks, changes, curves, ALL).savefig(folder / "robustness.png")
        images = torch.stack([tried[key].shown for key in strongest.values()])
        changed(images.numpy(), [label(*key) for key in strongest.values()]).savefig(folder / "images.png")


def _curves(tried: Mapping[Key, Tried]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The rejection of each attack, of all corruptions and of all transformations, each at its strongest."""
    clean = tried[UNCHANGED].errors
    if clean is None:
        return {}
    groups: dict[str, list[torch.Tensor]] = {}
    for kind, name, level in {key[:2]: key for key in tried if key[0] in KINDS}.values():
        errors = tried[kind, name, level].errors
        if errors is not None:
            groups.setdefault(KINDS[kind] or label(kind, name, level), []).append(errors)
    found = {name: roc(clean, torch.cat(each)) for name, each in groups.items()}
    return {f"{name}: {one.area:.3f}": (one.unchanged.numpy(), one.changed.numpy()) for name, one in found.items()}
