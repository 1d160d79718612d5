"""An attack that sees scores alone: Square Attack (Andriushchenko et al., 2020), in the maximum norm.

It needs no gradient. Where it succeeds and an attack by gradients does not, the gradients are masked: they lead nowhere
although there is somewhere to go (Athalye et al., 2018; Carlini et al., 2019, section 3).
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from capsnet_dist.robustness.attacks import Scores, Victims

FIRST = 0.8  # share of the image that the first square covers, as in AutoAttack (Croce and Hein, 2020)
HALVINGS = (10, 50, 200, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, after which the share is halved, in the authors' schedule."""


def square(
    scores: Scores, victims: Victims, eps: float, *, queries: int = 200, seed: int = 0
) -> Float[Tensor, "b c h w"]:
    """Stripes of plus or minus eps, then squares of them at random places, kept where they help.

    Args:
        scores: The network.
        victims: The images.
        eps: By how much a pixel may change, of 1.
        queries: How many times the network may be asked for each image.
        seed: What the places follow from.
    """
    images = victims.images
    channels, height, width = images.shape[1:]
    signs = _signs(victims.uniform(seed, 0, channels * width))
    best = _beside(images, rearrange(signs, "b (c w) -> b c 1 w", c=channels), eps)
    leads = victims.lead(scores(best))
    for query in range(1, queries):
        withstand = (leads <= 0).nonzero()[:, 0]
        if not len(withstand):
            break
        some = victims.select(withstand)
        uniform = some.uniform(seed, query, channels + 2)
        inside = _square(uniform[:, -2:], height, width, _share(query, queries))
        changed = _beside(some.images, rearrange(_signs(uniform[:, :-2]), "b c -> b c 1 1"), eps)
        tried = torch.where(rearrange(inside, "b h w -> b 1 h w"), changed, best[withstand])
        found = some.lead(scores(tried))
        better = found > leads[withstand]
        best[withstand[better]], leads[withstand[better]] = tried[better], found[better]
    return best


def _beside(
    images: Float[Tensor, "b c h w"], signs: Float[Tensor, "b c #h #w"], eps: float
) -> Float[Tensor, "b c h w"]:
    return (images + eps * signs).clamp(0, 1)


def _signs(uniform: Float[Tensor, "b k"]) -> Float[Tensor, "b k"]:
    return 1 - 2 * (uniform < 0.5).to(uniform.dtype)


def _share(query: int, queries: int) -> float:
    """Which share of the image a square covers."""
    return FIRST / 2 ** sum(query * 10_000 / queries > after for after in HALVINGS)


def _square(uniform: Float[Tensor, "b 2"], height: int, width: int, share: float) -> Bool[Tensor, "b h w"]:
    """A square that lies inside the image, all places being equally likely."""
    side = max(1, min(round((share * height * width) ** 0.5), height, width))
    is_inside: list[Tensor] = []
    for place, length in zip(uniform.unbind(1), (height, width), strict=True):
        first = rearrange((place * (length - side + 1)).long(), "b -> b 1")
        number = torch.arange(length, device=uniform.device)
        is_inside.append((number >= first) & (number < first + side))
    down, across = is_inside
    return rearrange(down, "b h -> b h 1") & rearrange(across, "b w -> b 1 w")
