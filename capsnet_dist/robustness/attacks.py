"""Attacks that follow the gradient: FGSM (Goodfellow et al., 2015) and PGD (Madry et al., 2018), in the maximum norm.

They change pixels in [0, 1], before the network normalizes them: no pixel by more than eps, and none beyond black or
white. What they climb is the lead of the wrong side: the score of the likeliest wrong class less that of the true one
(Carlini and Wagner, 2017, section V-A). A training's own loss would not do: the margin loss of capsules is flat where
the true capsule is longer than 0.9, and an attack that finds no slope looks like a network that withstands it.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.data.order import draws, key
from capsnet_dist.objects import present

Scores = Callable[[Float[Tensor, "b c h w"]], Float[Tensor, "b j"]]
"""A network as an attack sees it: pixels in [0, 1] to scores."""


class Victims(NamedTuple):
    """Images that are attacked."""

    images: Float[Tensor, "b c h w"]
    """Pixels in [0, 1]."""
    labels: Int64[Tensor, "b *m"]
    """What the network must not say any more; of targeted attacks, what it is to say."""
    numbers: Int64[Tensor, " b"]
    """Their numbers in the data set, from which all follows that is random."""
    is_targeted: bool = False
    """Whether the labels are to be reached, and not to be left."""

    def select(self, indices: Int64[Tensor, " n"]) -> "Victims":
        """Some of them."""
        return Victims(self.images[indices], self.labels[indices], self.numbers[indices], self.is_targeted)

    def lead(self, scores: Float[Tensor, "b j"]) -> Float[Tensor, " b"]:
        """By how much the attack leads; where it is positive, it has succeeded.

        The largest score of a class that is not among the labels less the smallest of those that are, or the reverse.
        """
        is_named = present(self.labels, scores) > 0
        inside = scores.masked_fill(~is_named, torch.inf).amin(dim=1)
        outside = scores.masked_fill(is_named, -torch.inf).amax(dim=1)
        return inside - outside if self.is_targeted else outside - inside

    def uniform(self, seed: int, time: int, number: int) -> Float[Tensor, "b k"]:
        """So many random numbers in [0, 1) for each image: the same in every batch and on every device."""
        return draws(key(seed, time).to(self.numbers.device), self.numbers, number).to(self.images.dtype)


def slope(scores: Scores, victims: Victims) -> tuple[Float[Tensor, " b"], Float[Tensor, "b c h w"]]:
    """The lead of the attack at some images, and its gradient there; what is not finite counts as zero."""
    images = victims.images.detach().requires_grad_()
    with torch.enable_grad():
        lead = victims.lead(scores(images))
        (gradient,) = torch.autograd.grad(lead.sum(), images)
    return lead.detach(), gradient.nan_to_num(0.0, 0.0, 0.0)


def fgsm(scores: Scores, victims: Victims, eps: float) -> Float[Tensor, "b c h w"]:
    """One step along the sign of the gradient (Goodfellow et al., 2015, section 4)."""
    _, gradient = slope(scores, victims)
    return (victims.images + eps * gradient.sign()).clamp(0, 1)


def pgd(
    scores: Scores,
    victims: Victims,
    eps: float,
    *,
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
    enough: float = 0.0,
) -> Float[Tensor, "b c h w"]:
    """Steps along the sign of the gradient from a random place within eps (Madry et al., 2018, section 2.1).

    Each image stays at the best place that any step of any start has found, and is left alone once it has given in.

    Args:
        scores: The network.
        victims: The images.
        eps: By how much a pixel may change, of 1.
        steps: How many, from each start.
        restarts: How many starts.
        seed: What they follow from.
        enough: The lead after which an image is left alone; infinity for one that another network is to see.
    """
    best, leads = victims.images.clone(), torch.full_like(victims.images[:, 0, 0, 0], -torch.inf)
    size = 2.5 * eps / steps  # as in the library of Madry et al.: every place within eps can be reached
    for start in range(restarts):
        noise = 2 * victims.uniform(seed, start, victims.images[0].numel()) - 1
        at = _inside(victims.images + eps * noise.reshape(victims.images.shape), victims.images, eps)
        for _ in range(steps + 1):
            withstand = (leads <= enough).nonzero()[:, 0]
            if not len(withstand):
                return best
            some = victims.select(withstand)
            found, gradient = slope(scores, some._replace(images=at[withstand]))
            better = withstand[found > leads[withstand]]
            best[better], leads[withstand] = at[better], torch.fmax(leads[withstand], found)
            at[withstand] = _inside(at[withstand] + size * gradient.sign(), some.images, eps)
    return best


def _inside(images: Float[Tensor, "b c h w"], centre: Float[Tensor, "b c h w"], eps: float) -> Float[Tensor, "b c h w"]:
    """The nearest images that differ from others by at most eps, and are images."""
    return torch.minimum(torch.maximum(images, centre - eps), centre + eps).clamp(0, 1)


def other_classes(labels: Int64[Tensor, " b"], uniform: Float[Tensor, " b"], classes: int) -> Int64[Tensor, " b"]:
    """A class for each image that is not its own: all others are equally likely."""
    drawn = (uniform.double() * (classes - 1)).long()
    return drawn + (drawn >= labels)
