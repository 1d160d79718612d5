"""MNIST (LeCun et al., 1998), as it is or with its digits moved about on a larger ground."""

from pathlib import Path

import torch
from torch.nn.functional import pad

from capsnet_dist.data.augment import Shift
from capsnet_dist.data.idx import Published, split_as_torchvision
from capsnet_dist.data.order import draws, key
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Natural

FILES = {
    "train": (
        Published(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        Published(
            "train-labels-idx1-ubyte", (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
    ),
    "test": (
        Published(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        Published(
            "t10k-labels-idx1-ubyte", (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    ),
}
"""Images and labels of each split."""


@datasets.register("mnist")
class MNIST:
    """60,000 and 10,000 handwritten digits of 28x28 pixels (LeCun et al., 1998).

    Args:
        root: Folder that holds MNIST/raw; what is missing there is downloaded.
        padding: Black pixels added on each side: 6 for digits as large as affNIST's pictures.
    """

    is_light_on_dark = True
    hub = "ylecun/mnist"
    classes = tuple("0123456789")

    def __init__(self, *, root: Path = Path("data"), padding: Natural = 0) -> None:
        self.root, self.padding = root, padding

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, cut short or changed.
        """
        read = split_as_torchvision("MNIST", self.root, FILES[name])
        return Split(pad(read.pixels, [self.padding] * 4), read.labels)


@datasets.register("mnist_translated")
class TranslatedMNIST:
    """MNIST with each digit at a place of its own on black (Sabour et al., 2017, section 5.2).

    All places where the 28x28 pixels lie inside are equally likely; an image's place never changes. To train with new
    places in every epoch, take `mnist` with the same padding, and shift by as much.

    Args:
        root: Folder that holds MNIST/raw; what is missing there is downloaded.
        padding: How far a digit may lie from the centre in each direction: 6 gives 40x40 pixels.
    """

    is_light_on_dark = True
    classes = tuple("0123456789")

    def __init__(self, *, root: Path = Path("data"), padding: Natural = 6) -> None:
        self.root, self.padding = root, padding

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: a file is neither there nor to be had, cut short or changed.
        """
        centred = MNIST(root=self.root, padding=self.padding).split(name)
        shift = Shift(pixels=self.padding)
        places = draws(key(0, {"train": 0, "test": 1}[name]), torch.arange(len(centred.labels)), shift.num_draws)
        return Split(shift(centred.pixels, places), centred.labels)
