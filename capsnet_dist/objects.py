"""Images of one object or of several: their labels, what scores predict of them, and how they overlap.

Labels are b numbers of classes where each image has one object, and b x m where it has m of different classes.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

Labels = Int64[Tensor, "b *m"] | Float[Tensor, "b j"]
"""Labels as losses get them: where samples are mixed, the share of each class."""


def present(labels: Labels, scores: Float[Tensor, "b j"]) -> Float[Tensor, "b j"]:
    """1 for each class that is there, else 0, in the type of the scores; of mixed samples the shares as they are."""
    if labels.is_floating_point():
        return labels.to(scores.dtype)
    return torch.zeros_like(scores).scatter(1, rearrange(labels, "b ... -> b (...)"), 1)


def likeliest(scores: Float[Tensor, "b j"], number: int) -> Int64[Tensor, "b m"]:
    """So many classes with the largest scores, in falling order; of equal ones the first."""
    return scores.argsort(dim=1, descending=True, stable=True)[:, :number]


def is_right(scores: Float[Tensor, "b j"], labels: Int64[Tensor, "b *m"]) -> Bool[Tensor, " b"]:
    """Whether the class with the largest score is that of the label; of m objects, whether the m likeliest are."""
    if labels.ndim == 1:
        return scores.argmax(dim=-1) == labels
    found = likeliest(scores, labels.shape[1])
    return (found.sort(dim=1).values == labels.sort(dim=1).values).all(dim=1)


def aligned(scores: Float[Tensor, "b j"], labels: Int64[Tensor, "b *m"]) -> Int64[Tensor, "b *m"]:
    """The predicted class; of m objects the class predicted for each: its own if it is among the m likeliest.

    What is predicted and not there is given to the objects that are not predicted, in falling order of the scores.
    """
    if labels.ndim == 1:
        return scores.argmax(dim=-1)
    found = likeliest(scores, labels.shape[1])
    same = rearrange(found, "b p -> b 1 p") == rearrange(labels, "b m -> b m 1")
    missed, spare = ~same.any(dim=2), ~same.any(dim=1)
    places, classes = (which.int().argsort(dim=1, descending=True, stable=True) for which in (missed, spare))
    taken = torch.where(missed.gather(1, places), found.gather(1, classes), labels.gather(1, places))
    return labels.scatter(1, places, taken)


def overlaid(objects: Float[Tensor, "b m c h w"]) -> Float[Tensor, "b c h w"]:
    """Images of several objects laid one upon another, clipped at 1.

    The gradient is that of the sum: a clipped one would be zero where the sum exceeds 1, and a pixel that is too bright
    in all images would stay so.
    """
    whole = objects.sum(dim=1)
    return whole.detach().clamp(max=1) + (whole - whole.detach())
