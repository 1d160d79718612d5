"""Digits turned, sheared, stretched and moved, each alone and all at once, in the ranges of affNIST (Tieleman, 2013).

The network's images keep their size, where affNIST has 40x40 pixels: what is moved remains inside, and what grows may
be cut. The numbers are ours and not to be compared with those on affNIST itself.
"""

from capsnet_dist.plugins import Augmentation, augmentations

ALL = "all, as affNIST"


def transformations() -> dict[str, Augmentation]:
    """The changes by name; what they draw follows from a seed and the number of an image."""
    still = {"rotation": 0.0, "shear": 0.0, "scale": 0.0}
    affine = augmentations("affine")
    alone = {name: affine.replace(**(still | {name: affine.options[name]})).build() for name in still}
    named = {
        f"turned by up to {affine.options['rotation']:g} degrees": alone["rotation"],
        f"sheared by up to {affine.options['shear']:g}": alone["shear"],
        f"{1 - affine.options['scale']:g} to {1 + affine.options['scale']:g} times as large": alone["scale"],
        "moved inside the image": augmentations("place").build(),
    }
    return named | {ALL: augmentations("chain", parts=(affine, augmentations("place"))).build()}
