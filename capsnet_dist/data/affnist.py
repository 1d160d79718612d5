"""affNIST (Tieleman, 2013): MNIST's digits, turned, sheared, stretched and moved."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from capsnet_dist.data.download import download, unpack
from capsnet_dist.data.matlab import read_struct
from capsnet_dist.data.mnist import MNIST
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Count

URL = "https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/"
NUM_BATCHES = 32
MEND = "Put it there, or name the folder that holds affNIST: --data.root FOLDER."


@datasets.register("affnist")
class AffNIST:
    """MNIST's digits turned, sheared, stretched and moved, 40x40 pixels, 32 of each digit (Tieleman, 2013).

    Networks are trained on digits that were only moved, and tested here: on 320,000 images made of MNIST's test digits.

    Args:
        root: Folder that holds affNIST/test.mat and affNIST/training_batches; what is missing there is downloaded.
        batches: How many of the 32 files to train on, of 50,000 images each.
        training: "affine": those files. "moved": MNIST in the middle of 40x40 pixels, to be shifted by up to 6 pixels,
            as in Sabour et al. (2017, section 5.2); root then holds MNIST/raw, too.

    Raises:
        UserError: more files than there are.
    """

    is_light_on_dark = True
    classes = tuple("0123456789")

    def __init__(
        self, *, root: Path = Path("data"), batches: Count = 1, training: Literal["affine", "moved"] = "affine"
    ) -> None:
        if batches > NUM_BATCHES:
            raise UserError(f"--data.batches {batches}: must be at most {NUM_BATCHES}, as many as affNIST has.")
        self.root, self.batches, self.training = root, batches, training

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: a file is neither there nor to be had, or is no file of affNIST.
        """
        folder = self.root / "affNIST"
        if name == "test":
            return _read(_fetched(folder, folder / "test.mat", "test.mat.zip"))
        if self.training == "moved":
            return MNIST(root=self.root, padding=6).split("train")
        files = [folder / "training_batches" / f"{number + 1}.mat" for number in range(self.batches)]
        parts = [_read(_fetched(folder, file, "training_batches.zip")) for file in files]
        return Split(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _fetched(folder: Path, file: Path, archive: str) -> Path:
    if not file.exists():
        unpack(download(folder, archive, [URL + archive], None, MEND))
    if not file.exists():
        raise UserError(f"{file} is not in {folder / archive}. Delete that, and it is downloaded again.")
    return file


def _read(file: Path) -> Split:
    """Images and labels of one MATLAB file: a column an image, row by row."""
    held = read_struct(file, "affNISTdata", ("image", "label_int"))
    images, labels = held["image"], held["label_int"]
    if images.dtype != np.uint8 or images.shape != (1600, labels.size) or not labels.size:
        shape = " x ".join(map(str, images.shape))
        raise UserError(f"{file} is no file of affNIST: its images are {images.dtype}, {shape}, not 1600 bytes each.")
    rows = images.T.reshape(-1, 1, 40, 40).copy()
    return Split(torch.from_numpy(rows), torch.from_numpy(labels.reshape(-1).astype(np.int64)))
