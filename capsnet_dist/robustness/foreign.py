"""Images of another data set, of which a network should notice that they are not its own."""

from dataclasses import replace
from typing import Any

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
        UserError: there is no such data set, its images have another shape, or nothing tells images apart, since the
            network rebuilds none or its own images have several objects.
    """
    choice = datasets(name)
    shared = {"root": data.options["root"]} if "root" in data.options and "root" in choice.options else {}
    test = choice.replace(**shared).build().split("test")
    numbers = chosen(test, len(trial.numbers), seed)
    if (shape := tuple(trial.still(test.select(numbers[:1]).pixels).shape[1:])) != trial.model.image:
        found, taken = ("x".join(map(str, one)) for one in (shape, trial.model.image))
        raise UserError(f"--foreign {name}: its images are {found}; the network takes {taken}.")
    labels = numbers.new_zeros(len(numbers), *trial.split.labels.shape[1:])  # of any class
    other = replace(trial, split=test.part(numbers)._replace(labels=labels), numbers=numbers)
    found = other.changed(lambda pictures, _: pictures)
    if found.errors is None:
        raise UserError(
            f"--foreign {name}: it takes a network that rebuilds images of one object, or nothing tells them apart."
        )
    return {("foreign", f"images of {name}", None): found}
