"""The model card: README.md of a run folder."""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from capsnet_dist import config
from capsnet_dist.plugins import Model, datasets
from capsnet_dist.record.card_metadata import front_matter
from capsnet_dist.record.remarks import CLASS_COLUMNS, class_rows, further_rates, remarks
from capsnet_dist.record.results import Evaluation
from capsnet_dist.registry import Choice
from capsnet_dist.run import Run
from capsnet_dist.text import code_span, listed, markdown, markdown_table, printable


class Made(NamedTuple):
    """How and from what a run was made."""

    command: str
    """What started the training."""
    images: Mapping[str, int]
    """How many there are of each part of the data: training, validation, test."""
    plugins: Sequence[str] = ()
    """Files in the run folder with the source of plugins."""


def model_card(
    run: Run,
    model: Model,
    source: str,
    results: Mapping[str, Evaluation],
    made: Made,
    folder: Path,
    *,
    is_done: bool,
) -> str:
    """What was trained, on what, how, what it achieves and how to use it.

    Args:
        run: The configuration.
        model: The network.
        source: Which weights are saved, and what they were chosen on.
        results: What they and others achieve on the test split; nothing where it was not evaluated.
        made: Where it all comes from.
        folder: Where the weights are.
        is_done: Whether all steps were taken.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    title = markdown(f"{run.name}: {run.model.name} on {run.data.name}")
    test = "took no part in that" if results else "was not evaluated"
    test += "" if is_done else ": the run was interrupted"
    begun, extent = run.start or run.weights, "" if run.start else ", as far as they fit"
    start = f" Training started from the weights of {code_span(begun)}{extent}." if begun else ""
    return f"""{front_matter(run, model, results)}# {title}

{count:,} parameters, seed {run.seed}, batch {run.batch_size}. model.safetensors holds the
{source}. The test split {test}.{start}

{_table(results)}{_classes(results, model.classes)}## Data

{_data(run, model, made.images)}
## Use

Made by {code_span(made.command)}. Use it:

{_snippet(model, folder, made.plugins)}"""


def _table(results: Mapping[str, Evaluation]) -> str:
    """A line for each of the weights, and the empty one that ends a table."""
    if not results:
        return ""
    columns = {"weights": [*results], "test accuracy": [f"{100 * r.accuracy:.2f} %" for r in results.values()]}
    if any(r.objects > 1 for r in results.values()):  # an image is right with all its objects
        columns["right objects"] = [f"{100 * r.right_objects:.2f} %" for r in results.values()]
    columns["images"] = [str(r.num_samples) for r in results.values()]
    return markdown_table([*columns], zip(*columns.values(), strict=True)) + "\n"


def _classes(results: Mapping[str, Evaluation], names: Sequence[str]) -> str:
    """What the selected weights achieve in each class, or in the weakest, and the empty line behind it."""
    result = results.get("selected")
    if result is None:
        return ""
    caption, rows = class_rows(result, names)
    said = [f"The selected weights have {listed(further_rates(result))}.", *remarks(result, names), caption]
    table = markdown_table(CLASS_COLUMNS, [list(map(markdown, row)) for row in rows])
    return f"{' '.join(map(markdown, filter(None, said)))}\n\n{table}\n"


def _data(run: Run, model: Model, images: Mapping[str, int]) -> str:
    """What the network was trained on, and what was done to it: paragraphs, a table and a list."""
    about = (inspect.getdoc(datasets[run.data.name]) or "").partition("\n")[0]
    classes = f"{len(model.classes)} classes: {listed(model.classes)}."
    table = markdown_table(["images", *images], [[_shape(model), *(f"{number:,}" for number in images.values())]])
    fit = "none, the data set gives images of this size"
    if model.fit is not None:
        size, policy, channels, background = model.fit
        fit = f"{policy} to {size}x{size} pixels, {channels} channel(s), on a background of shade {background} of 255"
    rows = {
        "data set": _described(run.data),
        "preprocessing": fit,
        "augmentation": _described(run.augmentation),
        "normalization": model.normalization,
    }
    items = "".join(f"- {name}: {markdown(text)}\n" for name, text in rows.items())
    return f"{markdown(about)}\n\n{markdown(classes)}\n\n{table}\n{items}"


def _described(choice: Choice[Any]) -> str:
    """A plugin and its options, as its flags would name them."""
    options = ", ".join(f"{key}={json.dumps(config.to_dict(value))}" for key, value in choice.options.items())
    return f"{choice.name} ({options})" if options else choice.name


def _shape(model: Model) -> str:
    return "x".join(map(str, model.image))


def _snippet(model: Model, folder: Path, plugins: Sequence[str]) -> str:
    """A program that loads and uses the network."""
    note, switch = "", ""
    if plugins:
        note, switch = f"# imports=True runs {listed(plugins)}: read what that does first\n", ", imports=True"
    return f"""```python
import capsnet_dist

{note}model = capsnet_dist.load({json.dumps(printable(str(folder)))}{switch})
labels, scores, names = model.predict(images)  # uint8, batch x {" x ".join(map(str, model.image))}
```
"""
