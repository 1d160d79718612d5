"""Images of another data set, of which a network should notice that they are not its own."""

from dataclasses import replace
from typing import Any

import torch

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import datasets
from capsnet_dist.registry import Choice
from capsnet_dist.robustness.trial import Key, Trial, Tried, chosen


def look_at_foreign(trial: Trial, name: str, data: Choice[Any], seed: int) -> dict[Key, Tried]:
    """What a network makes of as many test images of another data set, of any classes.

    Args:
        trial: The network, and its own images.
        name: The other data set.
        data: The network's own, whose folder is taken where both have one.
        seed: Which images are drawn.

    Raises:
        UserError: there is no such data set, or its images have another shape.
    """
    choice = datasets(name)
    shared = {"root": data.options["root"]} if "root" in data.options and "root" in choice.options else {}
    test = choice.replace(**shared).build().split("test")
    numbers = chosen(test, len(trial.numbers), seed)
    if (shape := tuple(trial.still(test.select(numbers[:1]).pixels).shape[1:])) != trial.model.image:
        found, taken = ("x".join(map(str, one)) for one in (shape, trial.model.image))
        raise UserError(f"--foreign {name}: its images are {found}; the network takes {taken}.")
    other = replace(trial, split=test.part(numbers)._replace(labels=torch.zeros_like(numbers)), numbers=numbers)
    return {("foreign", f"images of {name}", None): other.changed(lambda pictures, _: pictures)}
