"""Every figure of a network by name: drawn from a saved run by `capsnet-dist show`, and in the course of a run."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float

from capsnet_dist.analysis import iterations, views
from capsnet_dist.analysis.receptive import extent
from capsnet_dist.analysis.subject import NotShown, Subject
from capsnet_dist.figures.canvas import Figure
from capsnet_dist.figures.confusion import confusion
from capsnet_dist.figures.couplings import agreement, couplings
from capsnet_dist.figures.curves import Curve, curves
from capsnet_dist.figures.lengths import lengths
from capsnet_dist.figures.overlaps import overlaps
from capsnet_dist.figures.pose_space import pose_space
from capsnet_dist.figures.poses import effects, poses
from capsnet_dist.figures.reconstructions import reconstructions

RIGHT, WRONG, UNKNOWN = 10, 5, 100  # images on a page, by what is known of them
ROUTED = 64  # images whose routing is watched: their couplings fill some ten megabytes
SHOWN = 4  # classes beside each other in the map of couplings


def pose_effects(subject: Subject) -> Float[np.ndarray, " d"]:
    """How much a pixel of the first image changes over the range of each number of its pose."""
    return effects(subject.moved[0])


def _reconstructions(subject: Subject) -> Figure:
    seen = subject.seen
    if seen.true is not None and seen.true.ndim > 1:
        raise NotShown("the images have several objects each, which `overlaps` shows")
    many = UNKNOWN if seen.true is None else RIGHT
    with subject.model.evaluating():
        found = views.rebuild(subject.model, seen, many, WRONG)
    if found is None:
        raise NotShown("the network has no decoder")
    some = seen.select(found.chosen)
    return reconstructions(
        views.array(some.images),
        views.array(found.images),
        None if some.true is None else views.array(some.true),
        views.array(some.predicted),
        views.array(found.targets),
        subject.model.classes,
    )


def _overlaps(subject: Subject) -> Figure:
    seen = subject.seen
    if seen.true is None or seen.true.shape[1:] != (2,):
        raise NotShown("the images have not two objects each, whose classes are known")
    with subject.model.evaluating():
        found = views.rebuild_objects(subject.model, seen, RIGHT, WRONG)
    if found is None:
        raise NotShown("the network has no decoder")
    return overlaps(
        views.array(seen.images[found.chosen]),
        views.array(found.objects),
        views.array(seen.true[found.chosen]),
        views.array(subject.predicted[found.chosen]),
        views.array(found.targets),
        views.array(found.groups),
        subject.model.classes,
    )


def _poses(subject: Subject) -> Figure:
    usual = views.usual(subject.seen)
    name = subject.model.classes[int(subject.seen.predicted[0])]
    return poses(*subject.moved, name, None if usual is None else views.array(usual), subject.rows)


def _confusion(subject: Subject) -> Figure:
    counts = subject.counts
    if counts is None:
        number = len(subject.model.classes)
        flat = (subject.labels * number + subject.predicted).flatten()
        counts = flat.bincount(minlength=number**2).reshape(number, number)
    return confusion(views.array(counts), subject.model.classes)


def _curves(subject: Subject) -> Figure:
    panels: dict[str, list[Curve]] = {"loss (logarithmic)": [], "accuracy, %": []}
    for name, runs in subject.lines.items():
        prefix = f"{name}: " if len(subject.lines) > 1 else ""
        for (quantity, scale), panel in zip((("loss", 1.0), ("accuracy", 100.0)), panels.values(), strict=True):
            panel += [curve._replace(of=name) for curve in _of_runs(prefix, runs, quantity, scale)]
    if not any(panels.values()):
        raise NotShown("no metrics were recorded")
    return curves(panels)


def _of_runs(prefix: str, runs: Sequence[Sequence[Mapping[str, Any]]], quantity: str, scale: float) -> list[Curve]:
    """Training and validation in some runs, as far as they were recorded."""
    found: list[Curve] = []
    for split, weights in (("train", None), ("validation", "last"), ("validation", "ema")):
        chosen = [[x for x in lines if x["split"] == split and x.get("weights") == weights] for lines in runs]
        pairs = [
            (np.array([x["step"] for x in c], float), scale * np.array([x[quantity] for x in c])) for c in chosen if c
        ]
        label = split if weights is None else f"{split}, {weights} weights"
        found += [Curve(prefix + label, pairs, measured=split != "train")] if pairs else []
    return found


def _couplings(subject: Subject) -> Figure:
    seen = subject.seen.select(torch.arange(1))
    found = _watched(subject, seen)
    layer = iterations.class_layer(subject.model)
    assert layer is not None
    order = seen.scores[0].argsort(descending=True)[:SHOWN]
    difference = iterations.maps(found)[:, 0, order] - 1 / seen.scores.shape[1]
    with subject.model.evaluating():
        where = extent(subject.model, layer)
    return couplings(
        views.array(difference),
        views.array(seen.images[0]),
        views.array(seen.scores[0, order]),
        views.array(iterations.entropy(found.couplings)[:, 0]),
        where,
        [subject.model.classes[index] for index in order.tolist()],
    )


def _agreement(subject: Subject) -> Figure:
    seen = subject.seen.select(torch.arange(min(ROUTED, len(subject.seen.images))))
    found = _watched(subject, seen)
    winner = found.agreement.gather(2, seen.predicted[None, :, None].expand(len(found.agreement), -1, 1))[..., 0]
    others = (found.agreement.sum(dim=2) - winner) / (found.agreement.shape[2] - 1)
    return agreement(views.array(iterations.entropy(found.couplings)), views.array(winner), views.array(others))


def _watched(subject: Subject, seen: views.Seen) -> iterations.Iterations:
    with subject.model.evaluating():
        found = iterations.watch(subject.model, seen.images)
    if found is None:
        raise NotShown("no routing that sees all parts of an image at once makes the class capsules")
    return found


def _lengths(subject: Subject) -> Figure:
    scores, predicted = subject.seen.scores, rearrange(subject.predicted, "n ... -> n (...)")
    longest = scores.gather(1, predicted).flatten()
    if not bool(((longest >= 0) & (longest <= 1)).all()):
        raise NotShown("the scores of the network are no lengths between 0 and 1")
    return lengths(views.array(longest), views.array((subject.predicted == subject.labels).flatten()))


def _pose_space(subject: Subject) -> Figure:
    seen, predicted = subject.seen, rearrange(subject.predicted, "n ... -> n (...)")
    own = seen.poses[torch.arange(len(seen.poses)).to(predicted)[:, None], predicted].flatten(0, 1)
    if len(own) < 3:
        raise NotShown("a plane of poses needs at least three images")
    return pose_space(views.array(own), views.array(subject.labels.flatten()), subject.model.classes)


FIGURES: dict[str, Callable[[Subject], Figure]] = {
    "reconstructions": _reconstructions,
    "overlaps": _overlaps,
    "poses": _poses,
    "confusion": _confusion,
    "curves": _curves,
    "couplings": _couplings,
    "agreement": _agreement,
    "lengths": _lengths,
    "pose_space": _pose_space,
}
"""Each draws a subject, or raises NotShown."""


def fitting(several: bool) -> list[str]:
    """The figures for images of one object, or of several: reconstructions of these are `overlaps`."""
    return [name for name in FIGURES if name != ("reconstructions" if several else "overlaps")]
