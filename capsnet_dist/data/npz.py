"""Arrays saved by numpy."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from einops import rearrange

from capsnet_dist.errors import UserError
from capsnet_dist.files import ordinary
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.text import reason

NAMES = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
"""What the arrays of a split may be called: as in MedMNIST, or as in Keras."""


@datasets.register("npz")
class Npz:
    """Arrays that numpy saved in one file: `train_images`, `train_labels`, `test_images` and `test_labels`.

    Images are uint8, n x height x width, or with 1 or 3 channels last; labels are integers from 0. The names in Keras'
    files will do, too: `x_train`, `y_train`, `x_test` and `y_test`.

    Args:
        file: The file.
        names: Name of each class, in order; none: the file's array `classes`, or else the labels themselves.
    """

    def __init__(self, *, file: Path = Path("data.npz"), names: tuple[str, ...] = ()) -> None:
        self.file, self.names = file, names

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Name of each class.

        Raises:
            UserError: the file cannot be read.
        """
        if self.names:
            return self.names
        arrays = self._arrays("classes")
        if "classes" in arrays:
            return tuple(map(str, arrays["classes"].tolist()))
        return tuple(map(str, range(int(self.split("train").labels.max()) + 1)))

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: the file cannot be read, or lacks its arrays, or they have another type or shape.
        """
        pairs = [tuple(pattern.format(name) for pattern in pair) for pair in NAMES]
        found = self._arrays(*(key for pair in pairs for key in pair))
        for image_key, label_key in pairs:
            if image_key in found and label_key in found:
                return self._split(image_key, found[image_key], label_key, found[label_key])
        wanted = " or ".join(" and ".join(pair) for pair in pairs)
        raise UserError(f"{self.file} has no arrays {wanted}.")

    def _arrays(self, *keys: str) -> dict[str, np.ndarray]:
        """Those of the named arrays that the file has."""
        if not self.file.exists():
            raise UserError(f"{self.file} is not there: name the file, --data.file FILE.npz.")
        try:
            with ordinary(self.file) as data, np.load(data, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in keys if key in arrays}
        except UserError:
            raise
        except Exception as error:  # zipfile, zlib and numpy each have kinds of their own
            raise UserError(f"{self.file} cannot be read as arrays of numpy: {reason(error)}") from error

    def _split(self, image_key: str, images: np.ndarray, label_key: str, labels: np.ndarray) -> Split:
        if images.ndim == 3:
            images = images[..., None]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise UserError(
                f"{self.file}: {image_key} must be uint8, n x height x width, or with 1 or 3 channels last; "
                f"it is {images.dtype}, {' x '.join(map(str, images.shape))}."
            )
        if labels.dtype.kind not in "iu" or labels.size != len(images):
            raise UserError(
                f"{self.file}: {label_key} must be an integer for each of {len(images)} images; "
                f"it is {labels.dtype}, {' x '.join(map(str, labels.shape))}."
            )
        pixels = rearrange(torch.from_numpy(images), "n h w c -> n c h w").contiguous()
        return Split(pixels, torch.from_numpy(labels.reshape(-1).astype(np.int64)))
