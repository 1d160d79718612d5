"""Photographs that come with scikit-learn, to try the processing of pictures on."""

import numpy as np
from jaxtyping import UInt8

FACTORS = 3, 1, 0.25  # as from a camera, as they are, and small


def photographs() -> list[UInt8[np.ndarray, "y x 3"]]:
    """The same photograph in three sizes: 1281x1920, 427x640 and 107x160 pixels."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    flower = Image.fromarray(load_sample_image("flower.jpg"))
    width, height = flower.size
    return [np.array(flower.resize((round(factor * width), round(factor * height)))) for factor in FACTORS]
