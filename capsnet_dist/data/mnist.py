"""MNIST (LeCun et al., 1998)."""

from pathlib import Path

import torch
from einops import rearrange

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Split, datasets


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
        """The split called "train" or "test".

        Raises:
            UserError: the files are neither there nor to be had.
        """
        from torchvision.datasets import MNIST as Files

        try:
            files = Files(str(self.root), train=name == "train", download=True)
        except (RuntimeError, OSError) as error:
            raise UserError(
                f"MNIST is not in {(self.root / 'MNIST' / 'raw').resolve()} and could not be downloaded ({error}). "
                "Put its four files there, or name the folder that holds MNIST/raw: --data.root FOLDER."
            ) from error
        return Split(rearrange(files.data, "n h w -> n 1 h w"), files.targets.to(torch.int64))
