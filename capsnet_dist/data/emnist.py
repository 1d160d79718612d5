"""EMNIST: letters and digits, written by hand (Cohen et al., 2017)."""

import string
from pathlib import Path
from typing import Literal

from einops import rearrange

from capsnet_dist.data.download import download, unpack
from capsnet_dist.data.idx import Published, read_pair
from capsnet_dist.plugins import Split, datasets

URL = "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip"
MD5 = "58c8d27c78d21e728a6bc7b3cc06412e"
ALIKE = "abdefghnqrt"  # small letters that do not look like their capitals

Part = Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"]
CLASSES: dict[str, str] = {
    "balanced": string.digits + string.ascii_uppercase + ALIKE,
    "byclass": string.digits + string.ascii_uppercase + string.ascii_lowercase,
    "bymerge": string.digits + string.ascii_uppercase + ALIKE,
    "letters": string.ascii_lowercase,
    "digits": string.digits,
    "mnist": string.digits,
}

FIRST: dict[str, int] = {"letters": 1}
"""Which label stands for the first class, where it is not 0."""


@datasets.register("emnist")
class EMNIST:
    """Handwritten letters and digits of 28x28 pixels, in six parts (Cohen et al., 2017).

    Its files have rows and columns interchanged, and letters counted from 1: here they stand upright and count from 0.

    Args:
        root: Folder that holds EMNIST/raw; what is missing there is downloaded (560 MB).
        part: "balanced": 112,800 + 18,800 images of 47 classes, as many of each; capitals and small letters that look
            alike are one class. "bymerge": 697,932 + 116,323 of the same classes, as frequent as they were written.
            "byclass": the same images in 62 classes. "letters": 26 classes, capitals and small letters together.
            "digits": 240,000 + 40,000. "mnist": 60,000 + 10,000, drawn as MNIST.
    """

    is_light_on_dark = True

    def __init__(self, *, root: Path = Path("data"), part: Part = "balanced") -> None:
        self.root, self.part = root, part
        self.classes = tuple(CLASSES[part])

    def split(self, name: str) -> Split:
        """The split called "train" or "test".

        Raises:
            UserError: a file is neither there nor to be had, or cut short.
        """
        raw = self.root / "EMNIST" / "raw"
        files = [
            Published(f"emnist-{self.part}-{name}-images-idx3-ubyte", (None, 28, 28)),
            Published(f"emnist-{self.part}-{name}-labels-idx1-ubyte", (None,)),
        ]
        for file in files:
            _fetch(raw, file.name)
        read = read_pair(raw, *files)
        upright = rearrange(read.pixels, "n 1 w h -> n 1 h w").contiguous()
        return Split(upright, read.labels - FIRST.get(self.part, 0))


def _fetch(raw: Path, name: str) -> None:
    """Unpack a file from the archive that holds all parts, which stays, for the others."""
    if (raw / name).exists():
        return
    inner = raw / "gzip" / f"{name}.gz"
    if not inner.exists():
        mend = "Put EMNIST's gzip.zip there, or name the folder that holds EMNIST/raw: --data.root FOLDER."
        unpack(download(raw, "gzip.zip", [URL], MD5, mend))
    unpack(inner)
    inner.with_suffix("").replace(raw / name)
