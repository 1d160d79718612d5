"""smallNORB: toys seen by two cameras from many sides (LeCun et al., 2004)."""

from pathlib import Path
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from capsnet_dist.data.download import download
from capsnet_dist.data.norb_matrix import read_matrix
from capsnet_dist.plugins import Split, datasets
from capsnet_dist.ranges import Count

URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
STEMS = {
    "train": "smallnorb-5x46789x9x18x6x2x96x96-training",
    "test": "smallnorb-5x01235x9x18x6x2x96x96-testing",
}
NUMBER = 24_300
SHAPES = {"dat": (NUMBER, 2, 96, 96), "cat": (NUMBER,), "info": (NUMBER, 4)}
MD5 = {
    ("train", "dat"): ("8138a0902307b32dfa0025a36dfa45ec", "66054832f9accfe74a0f4c36a75bc0a2"),
    ("train", "cat"): ("fd5120d3f770ad57ebe620eb61a0b633", "23c8b86101fbf0904a000b43d3ed2fd9"),
    ("train", "info"): ("19faee774120001fc7e17980d6960451", "51dee1210a742582ff607dfd94e332e3"),
    ("test", "dat"): ("e9920b7f7b2869a8f1a12e945b2c166c", "e4ad715691ed5a3a5f138751a4ceb071"),
    ("test", "cat"): ("fd5120d3f770ad57ebe620eb61a0b633", "5aa791cd7e6016cf957ce9bdb93b8603"),
    ("test", "info"): ("7c5b871cc69dcadec1bf6a18141f5edc", "a9454f3864d7fd4bb3ea7fc3eb84924e"),
}
"""Of the plain file and of the gzipped one; several public programs agree on them, NYU publishes none."""

FIELDS = ("category", "instance", "elevation", "azimuth", "lighting")
"""What is known of an image: azimuth in tens of degrees, elevation in steps of 5 degrees from 30, the rest numbers."""
FAMILIAR = {"azimuth": (30, 32, 34, 0, 2, 4), "elevation": (0, 1, 2)}
"""What is trained on where new viewpoints are tested (Hinton et al., 2018, section 5.1)."""


@datasets.register("smallnorb")
class SmallNORB:
    """24,300 and 24,300 gray pairs of 96x96 pixels: 50 toys of 5 kinds from 162 viewpoints (LeCun et al., 2004).

    Training and test have other toys of each kind.

    Args:
        root: Folder that holds smallnorb, and that six files, .mat or .mat.gz; missing ones are downloaded (250 MB).
        cameras: "both": two channels. "left", "right": one. "separate": one, and each image of a pair is a sample.
        side: Pixels of a side, to which images are brought by the means of areas: 48 in Hinton et al. (2018).
        viewpoints: "all", or train on a third of them: "azimuth" on those from 300 to 40 degrees, "elevation" on those
            from 30 to 40 degrees.
        tested: Where viewpoints are few: "novel" ones, or those that are "familiar" from training.
    """

    classes = ("animal", "human", "airplane", "truck", "car")

    def __init__(
        self,
        *,
        root: Path = Path("data"),
        cameras: Literal["both", "left", "right", "separate"] = "both",
        side: Count = 96,
        viewpoints: Literal["all", "azimuth", "elevation"] = "all",
        tested: Literal["novel", "familiar"] = "novel",
    ) -> None:
        self.root, self.cameras, self.side, self.viewpoints, self.tested = root, cameras, side, viewpoints, tested

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, damaged or another one.
        """
        whole = self._whole_information(name)
        kept = self._is_kept(name, whole).nonzero()[:, 0]
        pairs = _resized(self._matrix(name, "dat"), kept, self.side)
        channel = {"left": pairs[:, :1], "right": pairs[:, 1:]}
        images = rearrange(pairs, "n c h w -> (n c) 1 h w") if self.cameras == "separate" else pairs
        return Split(channel.get(self.cameras, images).contiguous(), self._seen(whole[kept])[:, 0].clone())

    def information(self, name: str) -> Int64[Tensor, "n 5"]:
        """The fields of each image of a split, in the order of `FIELDS`."""
        whole = self._whole_information(name)
        return self._seen(whole[self._is_kept(name, whole)])

    def _seen(self, information: Int64[Tensor, "m 5"]) -> Int64[Tensor, "n 5"]:
        """A row for each sample: two for a pair whose images are samples of their own."""
        return information.repeat_interleave(2 if self.cameras == "separate" else 1, dim=0)

    def _whole_information(self, name: str) -> Int64[Tensor, "n 5"]:
        category, rest = self._matrix(name, "cat").long(), self._matrix(name, "info").long()
        return torch.cat([rearrange(category, "n -> n 1"), rest], dim=1)

    def _is_kept(self, name: str, information: Int64[Tensor, "n 5"]) -> Bool[Tensor, " n"]:
        if self.viewpoints == "all":
            return torch.ones(len(information), dtype=torch.bool)
        values = information[:, FIELDS.index(self.viewpoints)]
        familiar = torch.isin(values, torch.tensor(FAMILIAR[self.viewpoints]))
        return familiar if name == "train" or self.tested == "familiar" else ~familiar

    def _matrix(self, name: str, kind: str) -> Tensor:
        folder, file = self.root / "smallnorb", f"{STEMS[name]}-{kind}.mat"
        plain, gzipped = MD5[name, kind]
        if not (found := folder / file).exists() and not (found := folder / f"{file}.gz").exists():
            mend = "Put the six files of smallNORB there, or name the folder that holds smallnorb: --data.root FOLDER."
            found = download(folder, f"{file}.gz", [f"{URL}{file}.gz"], gzipped, mend)
        return read_matrix(found, SHAPES[kind], plain)


def _resized(pairs: UInt8[Tensor, "n c h w"], kept: Int64[Tensor, " m"], side: int) -> UInt8[Tensor, "m c side side"]:
    """Some of the images, brought to a size, a few at a time for the memory's sake."""
    if side == pairs.shape[-1]:
        return pairs if len(kept) == len(pairs) else pairs[kept]
    parts = [
        interpolate(pairs[indices].float(), (side, side), mode="area").round().byte() for indices in kept.split(1024)
    ]
    return torch.cat(parts)
