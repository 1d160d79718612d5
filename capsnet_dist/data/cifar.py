"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009)."""

from pathlib import Path
from typing import Any

import torch
from einops import rearrange

from capsnet_dist.data.download import check_md5, download, unpack
from capsnet_dist.plugins import Split, datasets

TEN = "airplane automobile bird cat deer dog frog horse ship truck"
HUNDRED = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle "
    "caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant "
    "flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man "
    "maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree "
    "plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper "
    "snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train "
    "trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)


@datasets.register("cifar10")
class CIFAR10:
    """50,000 and 10,000 photographs of 10 kinds of animals and vehicles, 32x32 pixels, in colour (Krizhevsky, 2009).

    Args:
        root: Folder that holds cifar-10-batches-py; if it is missing it is downloaded (170 MB).
    """

    hub = "uoft-cs/cifar10"
    classes = tuple(TEN.split())

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, damaged or another one.
        """
        return _read("CIFAR10", self.root, name)


@datasets.register("cifar100")
class CIFAR100:
    """50,000 and 10,000 photographs of 100 kinds of things, 32x32 pixels, in colour (Krizhevsky, 2009).

    Args:
        root: Folder that holds cifar-100-python; if it is missing it is downloaded (169 MB).
    """

    hub = "uoft-cs/cifar100"
    classes = tuple(HUNDRED.split())

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, damaged or another one.
        """
        return _read("CIFAR100", self.root, name)


def _read(kind: str, root: Path, name: str) -> Split:
    """A split of the set that torchvision calls `kind`."""
    from torchvision import datasets as known

    files: Any = getattr(known, kind)
    folder = root / files.base_folder
    published = [*files.train_list, *files.test_list, (files.meta["filename"], files.meta["md5"])]
    if not all((folder / file).exists() for file, _ in published):
        mend = f"Put {files.filename} there, or name the folder that holds {files.base_folder}: --data.root FOLDER."
        unpack(download(root, files.filename, [files.url], files.tgz_md5, mend))
    for file, md5 in published:  # before anything in them is unpickled
        check_md5(folder / file, md5)
    found = files(root, train=name == "train")
    images = rearrange(torch.from_numpy(found.data), "n h w c -> n c h w")
    return Split(images.contiguous(), torch.tensor(found.targets))
