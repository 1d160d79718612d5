"""How a picture of any kind and size becomes the pixels of one image: plain data, saved with the network."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import UInt8

Policy = Literal["crop", "stretch", "pad"]
POLICIES: tuple[str, ...] = get_args(Policy)
MODES = {1: "L", 3: "RGB"}
TURNED = 0x0112  # the tag of EXIF that says how a camera was held
REDUCING_GAP = 3.0  # Pillow averages whole pixels down to three times the size wanted, then interpolates


class Fit(NamedTuple):
    """Size, shape, channels and background of an image; the same in training, evaluation and prediction.

    A JPEG much larger than the image is decoded at a half, a quarter or an eighth of its size.

    Args:
        size: Height and width that every picture is brought to.
        policy: "crop": the shorter side to `size`, then the middle of the longer one. "stretch": both sides to `size`.
            "pad": all of the picture, in the middle of `background`.
        channels: 3 for colour, 1 for gray.
        background: Shade of pads and behind transparent pixels, from 0, black, to 255.
    """

    size: int = 32
    policy: Policy = "crop"
    channels: int = 3
    background: int = 0

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of every image."""
        return self.channels, self.size, self.size

    def __call__(self, picture: Any) -> UInt8[np.ndarray, "c h w"]:
        """The pixels of a picture opened by Pillow: turned as its camera says, without transparency, of 8 bits.

        Raises:
            ValueError: its pixels have no known range, or Pillow cannot convert them.
        """
        self.draft(picture)
        picture.load()  # some formats say after the pixels how they are turned
        plain, mode = opaque(of_8_bits(_upright(picture)), self.background), MODES[self.channels]
        scaled = self._scaled(plain if plain.mode == mode else plain.convert(mode))
        pixels = np.frombuffer(scaled.tobytes(), np.uint8).reshape(self.size, self.size, self.channels)
        return np.array(pixels.transpose(2, 0, 1), order="C")

    def draft(self, picture: Any) -> None:
        """Let a JPEG much larger than the image be decoded at a part of its size."""
        if min(picture.size) >= 4 * self.size:  # of twice the size wanted: smaller ones have no part as large
            picture.draft(None, (2 * self.size, 2 * self.size))

    def _scaled(self, picture: Any) -> Any:
        """Brought to the size, by the policy."""
        side, (width, height) = (self.size, self.size), picture.size
        if picture.size == side:
            return picture
        from PIL import Image

        if self.policy == "pad":
            scale = self.size / max(width, height)
            across, down = (max(1, round(scale * length)) for length in (width, height))
            whole = Image.new(picture.mode, side, (self.background,) * self.channels)
            resized = picture.resize((across, down), Image.Resampling.BILINEAR, reducing_gap=REDUCING_GAP)
            whole.paste(resized, ((self.size - across) // 2, (self.size - down) // 2))
            return whole
        shorter = min(width, height)
        left, top = ((width - shorter) / 2, (height - shorter) / 2) if self.policy == "crop" else (0, 0)
        box = (left, top, width - left, height - top)
        return picture.resize(side, Image.Resampling.BILINEAR, box=box, reducing_gap=REDUCING_GAP)


def _upright(picture: Any) -> Any:
    """A picture whose pixels are loaded, turned as its camera says."""
    if picture.getexif().get(TURNED, 1) == 1:
        return picture
    from PIL import ImageOps

    return ImageOps.exif_transpose(picture)


def of_8_bits(picture: Any) -> Any:
    """The upper 8 of 16 bits, on the same scale for all pictures: Pillow's own conversion cuts them off at 255.

    Raises:
        ValueError: its pixels have no known range.
    """
    if picture.mode == "F":
        raise ValueError("its pixels are floating point numbers, of no known range")
    if not picture.mode.startswith("I"):
        return picture
    from PIL import Image

    shades = np.asarray(picture)
    if shades.min() < 0 or shades.max() > 65535:
        raise ValueError("its pixels have more than 16 bits, of no known range")
    return Image.fromarray((shades >> 8).astype(np.uint8))


def is_transparent(picture: Any) -> bool:
    """Whether a picture says which of its pixels are transparent."""
    return "A" in picture.getbands() or "transparency" in picture.info


def opaque(picture: Any, background: int) -> Any:
    """A picture on a background of one shade, from 0, black, to 255."""
    if not is_transparent(picture):
        return picture
    from PIL import Image

    opaque = Image.new("RGBA", picture.size, (background, background, background, 255))
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque
