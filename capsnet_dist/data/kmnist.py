"""Kuzushiji-MNIST (Clanuwat et al., 2018)."""

from pathlib import Path

from capsnet_dist.data.idx import Published, split_as_torchvision
from capsnet_dist.plugins import Split, datasets

FILES = {
    "train": (
        Published("train-images-idx3-ubyte", (60_000, 28, 28)),
        Published("train-labels-idx1-ubyte", (60_000,)),
    ),
    "test": (
        Published("t10k-images-idx3-ubyte", (10_000, 28, 28)),
        Published("t10k-labels-idx1-ubyte", (10_000,)),
    ),
}
"""Images and labels of each split; checksums are published of the archives they are downloaded in."""


@datasets.register("kmnist")
class KMNIST:
    """60,000 and 10,000 cursive Japanese characters of 28x28 pixels (Clanuwat et al., 2018).

    Args:
        root: Folder that holds KMNIST/raw; what is missing there is downloaded.
    """

    is_light_on_dark = True
    classes = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: a file is neither there nor to be had, or of another size.
        """
        return split_as_torchvision("KMNIST", self.root, FILES[name])
