"""Images and labels as Python programs hold them, brought to uint8 tensors and numbers of classes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int64, UInt8
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.screen.counting import counting
from capsnet_dist.screen.progress import say
from capsnet_dist.text import listed

MOST_CHANNELS = 4  # of an array that has them last, or a height would be taken for them


def as_images(given: Tensor | np.ndarray, place: str) -> UInt8[Tensor, "n c h w"]:
    """Images as uint8, channels first.

    Args:
        given: uint8, or floating point in [0, 1], n x height x width, or with channels: last in an array, first in a
            tensor.
        place: What they are called in messages.

    Raises:
        UserError: another type, shape or range.
    """
    is_array = isinstance(given, np.ndarray)
    images = _tensor(given) if isinstance(given, np.ndarray) and given.dtype.kind in "uif" else given
    if not isinstance(images, Tensor):
        raise UserError(f"{place} must be an array or a tensor of numbers; got {getattr(given, 'dtype', type(given))}.")
    if images.ndim == 3:
        images = rearrange(images, "n h w -> n h w 1" if is_array else "n h w -> n 1 h w")
    shape = "x".join(map(str, given.shape))
    if images.ndim != 4 or (is_array and images.shape[3] > MOST_CHANNELS):
        raise UserError(
            f"{place}: an array must be n x height x width, or with 1 to {MOST_CHANNELS} channels last; a tensor has "
            f"them first; got {shape}."
        )
    if not is_array and images.shape[1] > MOST_CHANNELS >= images.shape[3]:
        raise UserError(f"{place}: a tensor must have its channels first, n x channels x height x width; got {shape}.")
    return _to_bytes(rearrange(images, "n h w c -> n c h w") if is_array else images, place).contiguous()


def _tensor(given: np.ndarray) -> Tensor:
    """An array as a tensor, copied where it may not be written or is laid out otherwise."""
    return torch.from_numpy(np.require(given, given.dtype.newbyteorder("="), ["C", "W"]))


def _to_bytes(images: Tensor, place: str) -> UInt8[Tensor, "n c h w"]:
    if images.dtype is torch.uint8:
        return images.cpu()
    if not images.is_floating_point():
        raise UserError(
            f"{place} must be uint8, pixels from 0 to 255, or floating point in [0, 1]; got {str(images.dtype)[6:]}."
        )
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise UserError(
            f"{place}: floating point pixels must lie in [0, 1]; got {images.min():g} to {images.max():g}. Divide "
            "those of 0 to 255 by 255, and leave out what normalises them: networks do so themselves."
        )
    return (images * 255).round().byte().cpu()


def as_labels(
    given: Mapping[str, Sequence[Any]], classes: Sequence[str]
) -> tuple[tuple[str, ...], dict[str, Int64[Tensor, " n"]]]:
    """Names of the classes, and the number of the class of each image.

    Args:
        given: Of each split, numbers of classes from 0, or their names.
        classes: Their names, in order, if there are any.

    Raises:
        UserError: labels are of another kind, or none of these names.
    """
    every = [label for labels in given.values() for label in labels]
    if every and all(isinstance(label, str) for label in every):
        names = tuple(classes) or tuple(sorted({*every}))
        if unknown := sorted({*every} - {*names}):
            raise UserError(f"labels name classes that `classes` has not: {listed(unknown)}. Known: {listed(names)}.")
        numbers = {name: number for number, name in enumerate(names)}
        return names, {split: torch.tensor([numbers[label] for label in labels]) for split, labels in given.items()}
    if wrong := [label for label in every if not isinstance(label, int | np.integer) or isinstance(label, bool)]:
        raise UserError(
            f"labels must be numbers of classes from 0, or their names, and all alike; got {wrong[0]!r:.200}."
        )
    least, most = min(map(int, every), default=0), max(map(int, every), default=-1)
    if least > 0 and not classes:
        say(f"Warning: labels go from {least} to {most}, and classes from 0, which has no images. Subtract {least}?")
    names = tuple(classes) or tuple(map(str, range(most + 1)))
    return names, {split: torch.tensor(list(map(int, labels)), dtype=torch.int64) for split, labels in given.items()}


def known_names(items: Any) -> tuple[str, ...]:
    """The names of classes that a torch data set, or the one it is a part of, gives."""
    while not hasattr(items, "classes") and hasattr(items, "dataset"):
        items = items.dataset
    found: Any = getattr(items, "classes", ())
    return tuple(found) if isinstance(found, list | tuple) and all(isinstance(name, str) for name in found) else ()


def read_items(items: Any, fit: Fit | None, place: str) -> tuple[UInt8[Tensor, "n c h w"], list[Any]]:
    """The images and labels of all items.

    Raises:
        UserError: an item is no image with a label, or images are of several sizes.
    """
    images: list[Tensor] = []
    labels: list[Any] = []
    with counting("reading images", len(items) if hasattr(items, "__len__") else 0) as counted:
        for number, item in enumerate(_each(items)):
            if not isinstance(item, tuple | list) or len(cast(Sequence[Any], item)) < 2:
                raise UserError(f"{place}: item {number} must be an image and a label; got {type(item).__name__}.")
            image, label = cast(Sequence[Any], item)[:2]
            images.append(_one_image(image, fit, f"{place}: item {number}"))
            labels.append(_plain(label))
            counted()
    if not images:
        raise UserError(f"{place}: there are no items.")
    if len(shapes := sorted({tuple(image.shape) for image in images})) > 1:
        found = listed(["x".join(map(str, shape)) for shape in shapes])
        raise UserError(
            f"{place} are of several sizes: {found}. Pictures of Pillow are brought to one by fit=Fit(size=32)."
        )
    return torch.stack(images), labels


def _plain(label: Any) -> Any:
    """A label as a value of Python."""
    if isinstance(label, Tensor):
        label = label.numpy(force=True)
    return label.item() if isinstance(label, np.generic | np.ndarray) and label.size == 1 else label


def _each(items: Any) -> Iterator[Any]:
    """The items, by number where they have numbers: a data set need not end by itself."""
    if hasattr(items, "__len__") and hasattr(items, "__getitem__"):
        return (items[number] for number in range(len(items)))
    return iter(items)


def _one_image(image: Any, fit: Fit | None, place: str) -> UInt8[Tensor, "c h w"]:
    from PIL import Image as Pillow

    if isinstance(image, Pillow.Image):
        if fit is not None:
            return torch.from_numpy(fit(image))
        image = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    elif fit is not None:
        raise UserError(f"{place}: `fit` takes pictures of Pillow; got {type(image).__name__}.")
    if not isinstance(image, Tensor | np.ndarray):
        raise UserError(
            f"{place}: an image must be a picture of Pillow, an array or a tensor; got {type(image).__name__}."
        )
    return as_images(image[None], place)[0]
