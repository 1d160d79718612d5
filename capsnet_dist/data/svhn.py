"""SVHN: numbers of houses (Netzer et al., 2011)."""

from pathlib import Path
from typing import Any

import torch

from capsnet_dist.data.download import published
from capsnet_dist.plugins import Split, datasets


@datasets.register("svhn")
class SVHN:
    """73,257 and 26,032 digits from numbers of houses, 32x32 pixels, in colour (Netzer et al., 2011).

    Args:
        root: Folder that holds SVHN/train_32x32.mat and SVHN/test_32x32.mat; what is missing there is downloaded.
        extra: Train on the 531,131 easier digits of SVHN/extra_32x32.mat as well.
    """

    hub = "ufldl-stanford/svhn"
    classes = tuple("0123456789")

    def __init__(self, *, root: Path = Path("data"), extra: bool = False) -> None:
        self.root, self.extra = root, extra

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: its file is neither there nor to be had, damaged or another one.
        """
        from torchvision.datasets import SVHN as Files

        folder, parts = self.root / "SVHN", ["train", "extra"] if self.extra and name == "train" else [name]
        found: list[Any] = []
        for part in parts:
            url, file, md5 = Files.split_list[part]
            published(folder, file, url, md5)
            found.append(Files(folder, split=part))
        images = torch.cat([torch.from_numpy(part.data) for part in found])
        return Split(images.contiguous(), torch.cat([torch.from_numpy(part.labels).long() for part in found]))
