"""The model card: README.md of a run folder."""

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from capsnet_dist.plugins import Model, datasets
from capsnet_dist.record.remarks import CLASS_COLUMNS, class_rows, further_rates, remarks
from capsnet_dist.record.results import Evaluation
from capsnet_dist.run import Run
from capsnet_dist.text import code_span, listed, markdown, markdown_table, printable


def model_card(
    run: Run,
    model: Model,
    source: str,
    results: Mapping[str, Evaluation],
    command: str,
    folder: Path,
    *,
    is_done: bool,
    plugins: Sequence[str] = (),
) -> str:
    """What was trained, how, what it achieves and how to use it.

    Args:
        run: The configuration.
        model: The network.
        source: Which weights are saved, and what they were chosen on.
        results: What they and others achieve on the test split; nothing where it was not evaluated.
        command: What started the training.
        folder: Where the weights are.
        is_done: Whether all steps were taken.
        plugins: Files in the folder with the source of plugins.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    title = markdown(f"{run.name}: {run.model.name} on {run.data.name}")
    data = markdown((inspect.getdoc(datasets[run.data.name]) or "").partition("\n")[0])
    test = "took no part in that" if results else "was not evaluated"
    test += "" if is_done else ": the run was interrupted"
    path, note, switch = json.dumps(printable(str(folder))), "", ""
    if plugins:
        note, switch = f"# imports=True runs {listed(plugins)}: read what that does first\n", ", imports=True"
    return f"""---
library_name: capsnet_dist
pipeline_tag: image-classification
---
# {title}

{data}

{count:,} parameters, seed {run.seed}, batch {run.batch_size}. model.safetensors holds the
{source}. The test split {test}.

{_table(results)}{_classes(results, model.classes)}Made by {code_span(command)}. Use it:

```python
import capsnet_dist

{note}model = capsnet_dist.load({path}{switch})
labels, scores, names = model.predict(images)  # uint8, batch x {" x ".join(map(str, model.image))}
```
"""


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
