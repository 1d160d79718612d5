"""What a training wrote of itself into config.json: by it, its network is evaluated and shown as it was trained."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from capsnet_dist import config
from capsnet_dist.config.kept import advice
from capsnet_dist.data.division import groups_of, hold_out_of_few
from capsnet_dist.errors import UserError
from capsnet_dist.images.fit import Fit
from capsnet_dist.plugins import (
    Augmentation,
    Loss,
    Model,
    NamedDataset,
    Split,
    augmentations,
    datasets,
    losses,
)
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.saved import weights
from capsnet_dist.saved.config_file import read_config
from capsnet_dist.saved.matching import matched, prepared, refuse_other_fit
from capsnet_dist.saved.plan import class_names


class TrainedRun:
    """The run that left a network.

    Args:
        source: Run folder, or owner/name on the Hugging Face Hub.

    Raises:
        UserError: it was left neither by a training nor by an import.
    """

    def __init__(self, source: str) -> None:
        self._file, _ = file, _ = weights.find(source)
        self._held = held = read_config(file)
        entry = held.get("run")
        self.source, self.is_imported = source, entry is None and "imported" in held
        if not self.is_imported and not isinstance(entry, dict):
            raise UserError(f"{file} has no entry 'run': only what a training run left can be evaluated here.")
        self.entry: Mapping[str, Any] = {} if self.is_imported else cast(dict[str, Any], entry)
        """The training's own options; none of an imported network."""
        self._built: tuple[Choice[Any], Any] | None = None
        self._rows: dict[str, Tensor] = {}
        """Of each part that was taken: where its images stand in "test" or "train" of the data set."""

    def data(self, *, is_named: bool = False) -> Choice[Any]:
        """The data set of the training, with its options; of an imported network any one, where the user names another.

        Raises:
            UserError: nobody says what to evaluate on.
        """
        if not self.is_imported:
            return self._choice(datasets, "data")
        if not is_named:
            raise UserError(
                f"{self.source} was imported, and does not say what it was trained on: name a data set with --data."
            )
        return datasets("digits")

    @property
    def is_light_on_dark(self) -> bool:
        """Whether it is known to have been trained with light strokes on a dark ground."""
        return _has_light_on_dark(self.entry)

    def criteria(self) -> list[Loss]:
        """The losses that the training minimised."""
        return [self._choice(losses, name).build() for name in ("loss", "regularizer") if name in self.entry]

    def still(self, images: Tensor) -> Tensor:
        """What the network sees of images: the middle, where the augmentation of the training cut them."""
        return self._augmentation.still(images)

    def views(self, images: Tensor) -> list[Tensor]:
        """All that the network sees of images: the mean of its scores counts."""
        return self._augmentation.views(images)

    def part(self, model: Model, data: Choice[Any], split: str) -> Split:
        """A part of a data set, with the labels that the network has for classes of these names.

        Args:
            model: The network.
            data: The data set.
            split: "test", or "train" or "validation", divided as in the training.

        Raises:
            UserError: the network does not take these images, or the part has none.
        """
        dataset = self._dataset(data, model.fit)
        refuse_other_fit(dataset, model.fit, data.name)
        classes = class_names(dataset.classes, f"Data set {data.name}")
        return matched(self._part(dataset, split), classes, model, self.still, f"Data set {data.name}, split {split}")

    def names(self, model: Model, data: Choice[Any], split: str) -> list[str]:
        """What the images of `part` are called: their files, or their numbers in "test" or "train" of the data set."""
        dataset, place = self._dataset(data, model.fit), "test" if split == "test" else "train"
        if split not in self._rows:
            self._part(dataset, split)
        numbers = cast(list[int], self._rows[split].tolist())
        if not isinstance(dataset, NamedDataset):
            return [str(number) for number in numbers]
        files = dataset.names(place)
        return [files[number] for number in numbers]

    def _dataset(self, data: Choice[Any], fit: Fit | None) -> Any:
        """A data set, built once: what it warns of is said once."""
        if self._built is None or self._built[0] != data:
            self._built, self._rows = (data, prepared(data, fit).build()), {}
        return self._built[1]

    @property
    def _share(self) -> float:
        """Which share of the training images was held out."""
        share: Any = self.entry.get("validation", 0)
        if not isinstance(share, int | float) or not 0 <= share < 1:
            place = f"{self.source}/config.json: run.validation"
            raise UserError(f"{place} must be at least 0 and less than 1; got {share!r:.200}.")
        return float(share)

    @property
    def _per_class(self) -> int | None:
        """How many training images of each class were taken; None: all of them."""
        number: Any = self.entry.get("images_per_class")
        if number is not None and (type(number) is not int or number < 1):
            place = f"{self.source}/config.json: run.images_per_class"
            raise UserError(f"{place} must be null or an integer of at least 1; got {number!r:.200}.")
        return number

    @cached_property
    def _augmentation(self) -> Augmentation:
        named = "augmentation" in self.entry
        return (self._choice(augmentations, "augmentation") if named else augmentations("none")).build()

    def _part(self, dataset: Any, name: str) -> Split:
        if name == "test":
            test = dataset.split(name)
            if not len(test.labels):
                raise UserError("--split test: the data set has no images for it.")
            self._rows[name] = torch.arange(len(test.labels))
            return test
        share, whole = self._share, dataset.split("train")
        kept, held = hold_out_of_few(whole.labels, share, self._per_class, groups_of(dataset))
        self._rows[name] = kept if name == "train" else held
        part = whole.part(self._rows[name])
        if not len(part.labels):
            raise UserError(f"--split {name}: the run held out no images for it.")
        return part

    def _choice(self, registry: Registry[Any], key: str) -> Choice[Any]:
        named: Any = self.entry.get(key)
        if not isinstance(named, dict) or not isinstance(name := cast(dict[str, Any], named).get("name"), str):
            raise UserError(f"{self.source}/config.json: run.{key} must be an object with a name; got {named!r:.200}.")
        try:
            choice = config.from_dict(registry(name), cast(dict[str, Any], named), f"run.{key}")
            config.check_ranges(choice, f"run.{key}.")
            return choice
        except (UserError, RecursionError) as error:
            mend = "" if name in registry else advice(self._held, self._file)
            raise UserError(f"{self.source}/config.json: {error}{mend}") from error


def is_light_on_dark(source: str) -> bool:
    """Whether a network is known to have been trained with light strokes on a dark ground."""
    entry: Any = read_config(weights.find(source)[0]).get("run")
    return isinstance(entry, dict) and _has_light_on_dark(cast(dict[str, Any], entry))


def _has_light_on_dark(entry: Mapping[str, Any]) -> bool:
    data: Any = entry.get("data")
    name: Any = cast(dict[str, Any], data).get("name") if isinstance(data, dict) else None
    return name in datasets and getattr(datasets[name], "is_light_on_dark", False) is True
