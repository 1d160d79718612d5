"""USPS (Hull, 1994): digits from envelopes."""

from pathlib import Path

import torch
from einops import rearrange

from capsnet_dist.data.download import published
from capsnet_dist.plugins import Split, datasets


@datasets.register("usps")
class USPS:
    """7,291 and 2,007 digits of 16x16 pixels from envelopes of the United States' mail (Hull, 1994).

    Args:
        root: Folder that holds USPS/usps.bz2 and USPS/usps.t.bz2; what is missing there is downloaded.
    """

    is_light_on_dark = True
    classes = tuple("0123456789")

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: its file is neither there nor to be had, damaged or another one.
        """
        from torchvision.datasets import USPS as Files

        folder = self.root / "USPS"
        url, file, md5 = Files.split_list[name]
        published(folder, file, url, md5)
        found = Files(folder, train=name == "train")
        return Split(rearrange(torch.from_numpy(found.data), "n h w -> n 1 h w"), torch.tensor(found.targets))
