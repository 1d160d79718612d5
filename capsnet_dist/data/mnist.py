"""MNIST (LeCun et al., 1998)."""

from pathlib import Path

import torch
from einops import rearrange

from capsnet_dist.data.idx import Published, read_idx
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Split, datasets

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
    """

    classes = tuple("0123456789")

    def __init__(self, *, root: Path = Path("data")) -> None:
        self.root = root

    def split(self, name: str) -> Split:
        """The split called "train" or "test", checked to be what was published.

        Raises:
            UserError: a file is neither there nor to be had, cut short or changed.
        """
        raw = self.root / "MNIST" / "raw"
        for published in FILES[name]:
            if not (raw / published.name).exists():
                _download(raw, published.name)
        images, labels = (read_idx(raw, published) for published in FILES[name])
        return Split(rearrange(images, "n h w -> n 1 h w"), labels.to(torch.int64))


def _download(raw: Path, name: str) -> None:
    """Fetch a file from the first of torchvision's mirrors that has it."""
    from torchvision.datasets import MNIST as Files
    from torchvision.datasets.utils import download_and_extract_archive

    archive, reason = f"{name}.gz", ""
    for mirror in Files.mirrors:
        try:
            download_and_extract_archive(
                mirror + archive, str(raw), filename=archive, md5=dict(Files.resources)[archive]
            )
            return
        except (RuntimeError, OSError) as error:
            reason = str(error).partition("\n")[0]
    raise UserError(
        f"{name} is not in {raw.resolve()} and could not be downloaded ({reason}). "
        "Put the four files of MNIST there, or name the folder that holds MNIST/raw: --data.root FOLDER."
    )
