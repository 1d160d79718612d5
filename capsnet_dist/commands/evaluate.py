"""`capsnet-dist evaluate`: what a saved network achieves, measured as its training did."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor

from capsnet_dist import config
from capsnet_dist.data.checks import check_split
from capsnet_dist.data.order import hold_out
from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded, read_json
from capsnet_dist.images.fit import Fit
from capsnet_dist.kernels import fast_paths, follow_precision
from capsnet_dist.plugins import Model, Split, augmentations, datasets, losses
from capsnet_dist.processes.launching import make_evaluator, part_at_exit
from capsnet_dist.processes.requests import on_gpu
from capsnet_dist.record.results import Evaluation
from capsnet_dist.registry import Choice, Registry
from capsnet_dist.saved import weights
from capsnet_dist.saved.plan import class_names, read_config
from capsnet_dist.screen.console import print_json, print_table, say
from capsnet_dist.text import listed
from capsnet_dist.training import evaluation
from capsnet_dist.training.isolation import isolated


def evaluate(
    run: str,
    /,
    *,
    data: Choice[Any],
    split: Literal["test", "validation", "train"] = "test",
    json: bool = False,
    imports: tuple[str, ...] = (),
) -> None:
    """Evaluate a trained network as its training did; the test accuracy is that of "selected" on the model card.

    Other pictures are prepared as those of the training, and their classes matched by name.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub; it stands first.
        data: Data set; the default is that of the training, whose options RUN --help shows.
        split: "validation" is the part of "train" that was held out.
        json: Print JSON.

    Raises:
        UserError: the network does not take these images, or was not left by a training.
    """
    with isolated(), fast_paths(allowed=True):
        model, entry = weights.load(run), _run_entry(run) or {}
        accelerator = make_evaluator(_precision(run, entry))
        follow_precision(accelerator.mixed_precision)
        still = still_of(run)
        part = part_for(model, data, split, run, still).to(accelerator.device)
        criteria = [_choice(losses, run, entry, name).build() for name in ("loss", "regularizer") if name in entry]
        result = evaluation.evaluate(model.to(accelerator.device), part, criteria, accelerator, still=still)
        part_at_exit()
        if accelerator.is_main_process:
            _print_evaluation(result, split, model.classes, json)


def still_of(run: str) -> Callable[[Tensor], Tensor]:
    """What the network of a training sees of images: the middle, where its augmentation cut them."""
    entry = _run_entry(run) or {}
    named = "augmentation" in entry
    return (_choice(augmentations, run, entry, "augmentation") if named else augmentations("none")).build().still


def trained_on(run: str, is_named: bool = False) -> Choice[Any]:
    """The data set of a training, with its options; of an imported network any one, where the user names another.

    Raises:
        UserError: nobody says what to evaluate on.
    """
    entry = _run_entry(run)
    if entry is None and not is_named:
        raise UserError(f"{run} was imported, and does not say what it was trained on: name a data set with --data.")
    return datasets("digits") if entry is None else _choice(datasets, run, entry, "data")


def part_for(model: Model, data: Choice[Any], split: str, run: str, still: Callable[[Tensor], Tensor]) -> Split:
    """A part of a data set for the network that a run has left.

    Args:
        model: The network.
        data: The data set.
        split: Its part.
        run: The run folder.
        still: What the network sees of images.

    Raises:
        UserError: the network does not take these images, or was not left by a training.
    """
    data = _prepared(data, model.fit)
    dataset = data.build()
    classes = class_names(dataset.classes, f"Data set {data.name}")
    place = f"Data set {data.name}, split {split}"
    return _matched(_part(dataset, split, run, _run_entry(run) or {}), classes, model, still, place)


def _prepared(data: Choice[Any], fit: Fit | None) -> Choice[Any]:
    """A data set of pictures with the preprocessing that the network was trained with."""
    wanted = {} if fit is None else fit._asdict()
    if not wanted.keys() <= data.options.keys():
        return data
    defaults = data.registry(data.name).options
    for key, value in wanted.items():
        if data.options[key] not in (value, defaults[key]):
            raise UserError(f"--data.{key} {data.options[key]}: the network was trained with {value}: leave it out.")
    return data.replace(**wanted)


def _matched(
    part: Split, classes: tuple[str, ...], model: Model, still: Callable[[Tensor], Tensor], place: str
) -> Split:
    """The samples with the labels that the network has for classes of these names."""
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


def _run_entry(source: str) -> dict[str, Any] | None:
    """The training's own options in config.json; None where the weights were imported."""
    file, _ = weights.find(source)
    config = read_config(file)
    entry = config.get("run")
    if entry is None and "imported" in config:
        return None
    if not isinstance(entry, dict):
        raise UserError(f"{file} has no entry 'run': only what a training run left can be evaluated here.")
    return cast(dict[str, Any], entry)


def _choice(registry: Registry[Any], run: str, entry: Mapping[str, Any], key: str) -> Choice[Any]:
    named: Any = entry.get(key)
    if not isinstance(named, dict) or not isinstance(name := cast(dict[str, Any], named).get("name"), str):
        raise UserError(f"{run}/config.json: run.{key} must be an object with a name; got {named!r:.200}.")
    try:
        choice = config.from_dict(registry(name), cast(dict[str, Any], named), f"run.{key}")
        config.check_ranges(choice, f"run.{key}.")
        return choice
    except (UserError, RecursionError) as error:
        raise UserError(f"{run}/config.json: {error}") from error


def _part(dataset: Any, name: str, run: str, entry: Mapping[str, Any]) -> Split:
    """A split of the data set; training and validation images divided as in the training."""
    if name == "test":
        test = dataset.split(name)
        if not len(test.labels):
            raise UserError("--split test: the data set has no images for it.")
        return test
    share: Any = entry.get("validation", 0)
    if not isinstance(share, int | float) or not 0 <= share < 1:
        raise UserError(f"{run}/config.json: run.validation must be at least 0 and less than 1; got {share!r:.200}.")
    whole = dataset.split("train")
    kept, held = hold_out(whole.labels, float(share))
    part = whole.part(kept if name == "train" else held)
    if not len(part.labels):
        raise UserError(f"--split {name}: the run held out no images for it.")
    return part


def _precision(source: str, entry: Mapping[str, Any]) -> str:
    """The mixed precision that the training evaluated in, since it moves a few predictions."""
    file = expanded(source) / "environment.json"
    place: Any = read_json(file) if file.is_file() else entry
    if not isinstance(place, dict):
        raise UserError(f"{file} does not say where the run was made: it holds {place!r:.200}.")
    wanted = cast(dict[str, Any], place).get("mixed_precision")
    if wanted == "fp16" and not on_gpu():
        say("trained in fp16, which needs a GPU; evaluated without mixed precision.")
        return "no"
    return wanted if wanted in ("bf16", "fp16") else "no"


def _print_evaluation(result: Evaluation, split: str, classes: Sequence[str], json: bool) -> None:
    counts = cast(list[list[int]], result.confusion.tolist())
    if json:
        values = {"split": split, "images": result.num_samples, "accuracy": result.accuracy, "loss": result.loss}
        print_json(values | {"terms": result.terms, "classes": list(classes), "confusion": counts})
        return
    terms = "  ".join(f"{name} {value:.4f}" for name, value in result.terms.items())
    print(f"{split} accuracy {100 * result.accuracy:.2f} % of {result.num_samples} images")  # noqa: T201
    if result.terms:
        print(f"loss {result.loss:.4f}  {terms}")  # noqa: T201
    print("\nTrue classes down, predicted ones across:")  # noqa: T201
    print_table(["", *classes], [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)])
