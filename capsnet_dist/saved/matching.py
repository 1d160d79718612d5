"""Images of any data set for a network that was trained before: of its preprocessing, shape and classes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from capsnet_dist.data.checks import check_split
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import FittedDataset, Model, Split
from capsnet_dist.registry import Choice
from capsnet_dist.text import listed


def prepared(data: Choice[Any], fit: Fit | None) -> Choice[Any]:
    """A data set of pictures with the preprocessing that the network was trained with.

    Raises:
        UserError: the user asks for another.
    """
    wanted = {} if fit is None else fit._asdict()
    if not wanted.keys() <= data.options.keys():
        return data
    defaults = data.registry(data.name).options
    for key, value in wanted.items():
        if data.options[key] not in (value, defaults[key]):
            raise UserError(f"--data.{key} {data.options[key]}: the network was trained with {value}: leave it out.")
    return data.replace(**wanted)


def refuse_other_fit(dataset: object, fit: Fit | None, data: str) -> None:
    """Refuse pictures that a program has prepared otherwise than those of the training.

    Raises:
        UserError: with both preparations.
    """
    given = dataset.fit if isinstance(dataset, FittedDataset) else None
    if given and fit and given != fit:
        raise UserError(f"Data set {data}: its pictures were brought to {given}, those of the training to {fit}.")


def matched(
    part: Split, classes: tuple[str, ...], model: Model, still: Callable[[Tensor], Tensor], place: str
) -> Split:
    """The samples with the labels that the network has for classes of these names.

    Args:
        part: The samples, with labels of the data set.
        classes: The classes of the data set.
        model: The network.
        still: What the network sees of images.
        place: What messages call the samples.

    Raises:
        UserError: the network does not know the classes, or takes other images.
    """
    check_split(part, len(classes), place)
    shape = tuple(still(part.select(torch.zeros(1, dtype=torch.int64)).pixels).shape[1:])
    unknown = [name for name in classes if name not in model.classes]
    if unknown or shape != model.image:
        given, taken = (shape, *classes), (model.image, *model.classes)
        which = f" Unknown classes: {listed(unknown)}." if unknown else ""
        raise UserError(f"{place}: images and classes {_listed(given)}; the network takes {_listed(taken)}.{which}")
    own = torch.tensor([model.classes.index(name) for name in classes])
    return part._replace(labels=own[part.labels])


def _listed(kind: tuple[Any, ...]) -> str:
    return f"{'x'.join(map(str, kind[0]))}: {', '.join(kind[1:]):.200}"
