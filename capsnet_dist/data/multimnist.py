"""MultiMNIST: two overlapping digits in one image (Sabour et al., 2017, section 6)."""

from pathlib import Path

from capsnet_dist.data.mnist import MNIST
from capsnet_dist.data.pairs import pair_up
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Count, Natural


@datasets.register("multimnist")
class MultiMNIST:
    """Two overlapping digits of different classes, 36x36 pixels: 60 and 10 million pairs (Sabour et al., 2017).

    Each digit of MNIST lies below 1000 others of its split, which differ from pair to pair. Both are moved by up to 4
    pixels and added, the sum clipped at 255. A pair follows from its number alone; it is made when it is needed, and so
    are its two digits alone, which reconstructions are compared with.

    Args:
        root: Folder that holds MNIST/raw; what is missing there is downloaded.
        pairs: Pairs of each training digit; each takes 40 bytes of memory.
        test_pairs: Pairs of each test digit.
        pixels: Largest shift in each direction: 4 in the paper's text, 6 in the commands that its authors published.
    """

    classes = tuple("0123456789")

    def __init__(
        self, *, root: Path = Path("data"), pairs: Count = 1000, test_pairs: Count = 1000, pixels: Natural = 4
    ) -> None:
        self.root, self.pixels = root, pixels
        self.pairs = {"train": pairs, "test": test_pairs}

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: a file is neither there nor to be had, cut short or changed; or there are not so many pairs.
        """
        digits = MNIST(root=self.root).split(name)
        return pair_up(digits, self.pairs[name], self.pixels, {"train": 0, "test": 1}[name])
