"""Handwritten digits of 8x8 pixels, which come with scikit-learn."""

import torch
from einops import rearrange

from capsnet_dist.data.division import hold_out
from capsnet_dist.plugins import Split, datasets


@datasets.register("digits")
class Digits:
    """1,797 digits of 8x8 pixels in 17 shades, written by 13 people (Alpaydin and Kaynak, 1998).

    They come with scikit-learn, which has only the test part of the original. A fixed fifth, the same share of every
    class, is the test split here, so the same writers are in both splits.
    """

    is_light_on_dark = True
    classes = tuple("0123456789")

    def split(self, name: str) -> Split:
        """The split called "train" (1,438 images) or "test" (359)."""
        from sklearn.datasets import load_digits

        pixels, targets = load_digits(return_X_y=True)
        shades = rearrange(torch.from_numpy(pixels), "n (h w) -> n 1 h w", h=8)
        images = (shades * (255 / 16)).round().byte()
        labels = torch.from_numpy(targets).long()
        train, test = hold_out(labels, 0.2)
        return Split(images, labels).select({"train": train, "test": test}[name])
