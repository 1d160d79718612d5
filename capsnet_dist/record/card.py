"""The model card: README.md of a run folder."""

import inspect
from collections.abc import Mapping
from pathlib import Path

from capsnet_dist.plugins import Model, datasets
from capsnet_dist.record.results import Evaluation
from capsnet_dist.run import Run


def model_card(
    run: Run, model: Model, source: str, results: Mapping[str, Evaluation], command: str, folder: Path
) -> str:
    """What was trained, how, what it achieves and how to use it; `source` says which weights are saved."""
    count = sum(parameter.numel() for parameter in model.parameters())
    rows = [f"| {name} | {100 * r.accuracy:.2f} % | {r.num_samples} |" for name, r in results.items()]
    table = "\n".join(["| weights | test accuracy | images |", "| --- | --- | --- |", *rows])
    share = f"{100 * run.validation:g} % of the training images"
    chosen = f", chosen on {share}" if run.validation else ""
    data = (inspect.getdoc(datasets[run.data.name]) or "").partition("\n")[0]
    return f"""---
library_name: capsnet_dist
pipeline_tag: image-classification
---
# {run.name}: {run.model.name} on {run.data.name}

{data}

{count:,} parameters, seed {run.seed}, batch {run.batch_size}. model.safetensors holds the
{source}{chosen}. The test split was {"read once, at the end" if results else "not read: the run was interrupted"}.

{table if results else ""}

Made by `{command}`. Use it:

```python
import capsnet_dist

model = capsnet_dist.load("{folder}")
labels, scores, names = model.predict(images)  # uint8, batch x {" x ".join(map(str, model.image))}
```
"""
