"""Fashion-MNIST (Xiao et al., 2017)."""

from pathlib import Path

from capsnet_dist.data.idx import Published, split_as_torchvision
from capsnet_dist.plugins import Split, datasets

FILES = {
    "train": (
        Published(
            "train-images-idx3-ubyte",
            (60_000, 28, 28),
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        ),
        Published(
            "train-labels-idx1-ubyte", (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
    ),
    "test": (
        Published(
            "t10k-images-idx3-ubyte",
            (10_000, 28, 28),
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        ),
        Published(
            "t10k-labels-idx1-ubyte", (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    ),
}
"""Images and labels of each split."""


@datasets.register("fashion_mnist")
class FashionMNIST:
    """60,000 and 10,000 articles of clothing of 28x28 pixels, gray (Xiao et al., 2017).

    Args:
        root: Folder that holds FashionMNIST/raw; what is missing there is downloaded.
    """

    is_light_on_dark = True
    hub = "zalando-datasets/fashion_mnist"
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, cut short or changed.
        """
        return split_as_torchvision("FashionMNIST", self.root, FILES[name])
