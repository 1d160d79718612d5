"""Whether gradients are masked: small or wrong ones make attacks fail, and look like robustness (Athalye et al., 2018).

An attack that sees the network cannot be weaker than one that does not: where it is, it was misled.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from capsnet_dist.robustness.attacks import Scores, Victims, slope
from capsnet_dist.robustness.trial import Key, Trial, Tried

FGSM, PGD, SQUARE, TRANSFER = "FGSM", "PGD", "Square Attack, black box", "PGD on the other network"
"""The attacks, as the tables call them."""


def flat_gradients(trial: Trial) -> list[str]:
    """What there is to say of images where the gradient is zero, or no number: attacks that follow it stay there."""
    flat: list[Tensor] = []

    def look(scores: Scores, victims: Victims) -> Float[Tensor, "b c h w"]:
        _, gradient = slope(scores, victims)
        flat.append((gradient == 0).flatten(1).all(dim=1))
        return victims.images

    trial.attacked(look)
    number = int(torch.cat(flat).sum())
    if not number:
        return []
    return [f"The gradient is zero at {number} of {len(trial.numbers)} images: FGSM does not move them."]


def masked_gradients(tried: Mapping[Key, Tried]) -> list[str]:
    """A sentence for each eps and each attack that PGD should be stronger than."""
    sentences: list[str] = []
    for (kind, name, eps), found in tried.items():
        if kind == "attack" and name != PGD and eps:
            white, right = tried[kind, PGD, eps].right, found.right
            missed = int((white & ~right).sum())
            if name != FGSM or missed:  # that one step is weaker than many goes without saying
                sentences.append(_compared(name, eps, white, right, missed))
    return sentences


def _compared(name: str, eps: float, white: Bool[Tensor, " n"], right: Bool[Tensor, " n"], missed: int) -> str:
    shares = " and ".join(f"{100 * one.float().mean().item():.1f} %" for one in (white, right))
    start = f"eps {eps:g}: PGD and {name} leave {shares} right"
    if white.sum() > right.sum():
        return f"{start}. The white-box attack is weaker: gradients are masked, what it leaves is not robust."
    if missed:
        return f"{start}. {missed} image(s) withstand PGD alone: there its gradients are masked, or its steps too few."
    return f"{start}, and none that PGD leaves falls to the other: no sign of masked gradients."
