"""Networks on the page, for tests."""

import base64
import io

import numpy as np
import torch
from PIL import Image

from capsnet_dist import Split, build, decoders, models
from capsnet_dist.demo.stage import Stage

SMALL = models(
    "capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3, decoder=decoders("masked", hidden=(8,))
)


def unchanged(images):
    return images


def split(image, classes, number=12):
    """Noise in the middle of black."""
    generator = torch.Generator().manual_seed(0)
    images = torch.zeros(number, *image, dtype=torch.uint8)
    inner = images[:, :, 2:-2, 2:-2]
    inner[:] = torch.randint(256, inner.shape, generator=generator)
    return Split(images, torch.arange(number) % classes)


def stage(choice=SMALL, image=(1, 8, 8), classes=5, *, tests=True, number=12):
    """A network with random weights, and noise to look at."""
    torch.manual_seed(0)
    model = build(choice, image, tuple(f"class {label}" for label in range(classes))).eval()
    return Stage(
        "net", model, split(image, classes, number) if tests else None, "" if tests else "none given", unchanged
    )


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


PIXELS = "AAAA" * 21 + "AA=="  # 8 x 8
GOOD = {
    "look": {"run": 0, "picture": png([[0] * 9] * 7), "polarity": "auto", "class": 1},
    "rebuild": {"run": 0, "pixels": PIXELS, "class": 1, "offsets": [[0.5] * 16]},
    "effects": {"run": 0, "pixels": PIXELS, "class": 1},
    "routing": {"run": 0, "pixels": PIXELS, "classes": [0, 4]},
}
"""A request of each kind, for `stage()`."""
