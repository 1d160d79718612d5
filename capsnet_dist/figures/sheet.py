"""Rows of images in one picture."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

SMALLEST_SIDE = 48  # pixels: smaller images are enlarged, so that a person sees something


@contextmanager
def evaluating(model: nn.Module) -> Generator[None]:
    """A network in evaluation mode, and afterwards as it was, whatever happens."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def save_sheet(images: Float[Tensor, "r m c h w"], file: Path) -> None:
    """Rows of images, as a PNG; channels beyond the colours are left out."""
    from torchvision.utils import save_image

    factor = max(1, -(-SMALLEST_SIDE // images.shape[-1]))
    shown = images[:, :, :3] if images.shape[2] >= 3 else images[:, :, :1]
    tiles = repeat(shown, "r m c h w -> (r m) c (h y) (w x)", y=factor, x=factor)
    save_image(tiles.float(), file, nrow=images.shape[1], padding=2)
