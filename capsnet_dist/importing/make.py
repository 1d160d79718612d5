"""From a file of somebody else to a folder of ours."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from einops import EinopsError
from torch import Tensor

from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.files import ordinary
from capsnet_dist.importing.foreign import Imported, Told
from capsnet_dist.importing.layouts import LAYOUTS, REFUSED
from capsnet_dist.plugins import Model
from capsnet_dist.ranges import Positives, Shares, require
from capsnet_dist.saved.header import differences, entries
from capsnet_dist.saved.plan import Plan, build, draft
from capsnet_dist.saved.weights import save
from capsnet_dist.text import code_span, listed, markdown, reason


def import_weights(file: Path, layout: str, told: Told, classes: tuple[str, ...] = ()) -> tuple[Model, tuple[str, ...]]:
    """A network with the weights of a file, and what is to be said of it.

    Args:
        file: What was trained elsewhere.
        layout: Which repository it is of.
        told: What the file does not say.
        classes: Name of each class; numbers where there are none.

    Raises:
        UserError: the layout is unknown or cannot be expressed, or the file does not follow it.
    """
    if layout in REFUSED:
        raise UserError(f"{layout} is not imported: {REFUSED[layout]}.")
    if layout not in LAYOUTS:
        raise UserError(f"Unknown layout {layout!r}.{did_you_mean(layout, [*LAYOUTS, *REFUSED])}")
    require(Shares, told.mean, "--mean")
    require(Positives, told.std, "--std")
    how = LAYOUTS[layout]
    foreign = how.read(file)
    try:
        found = how.translate(foreign, told)
    except EinopsError as error:
        foreign.refuse(f"the sizes of its tensors do not go together ({reason(error)})")
    names = classes or tuple(map(str, range(found.classes)))
    if len(names) != found.classes:
        raise UserError(f"--classes names {len(names)}; {file} has {found.classes} classes.")
    plan = Plan(found.choice, found.image, names, foreign.dtype, None)
    planned = draft(plan)
    state = found.state | _counters(planned)
    if problems := differences(entries(state), entries(planned.state_dict())):
        foreign.refuse(listed(problems, "; "))
    if wrong := [name for name, tensor in state.items() if not tensor.isfinite().all()]:
        raise UserError(f"{file} holds values that are infinite or no numbers, in {listed(wrong)}.")
    with torch.random.fork_rng(devices=[]):
        model = build(found.choice, found.image, names).to(foreign.dtype)
    model.load_state_dict(state | _first_convolution(found, told))
    return model.eval(), found.notes


def save_imported(model: Model, folder: Path, file: Path, layout: str, notes: tuple[str, ...]) -> None:
    """Write a new folder: weights, config.json that says where they are from, and a README.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    if folder.exists():
        raise UserError(f"--out {folder} exists already, and folders are never overwritten.")
    with ordinary(file) as data:
        sha256 = hashlib.file_digest(data, "sha256").hexdigest()
    origin: dict[str, Any] = {"from": layout, "file": file.name, "sha256": sha256, "notes": list(notes)}
    save(model, folder, imported=origin)
    shape = " x ".join(map(str, model.image))
    listed_notes = "".join(f"- {note}\n" for note in notes)
    text = f"""# {markdown(file.name)}, imported

Weights that others trained, in the layout {code_span(layout)} ({LAYOUTS[layout].source}), as a network of
capsnet_dist. Their licence is that of whoever published them.

{listed_notes}
It takes images of {shape} pixels in [0, 1] and tells {len(model.classes)} classes apart. Use it:

```python
import capsnet_dist

model = capsnet_dist.load({str(folder)!r})
labels, scores, names = model.predict(images)  # uint8, batch x {shape}
```
"""
    try:
        (folder / "README.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {reason(error)}.") from error


def _first_convolution(found: Imported, told: Told) -> dict[str, Tensor]:
    """Its weights for pixels in [0, 1]: what else was done to pixels goes into them.

    It has no padding, where a pixel of zero would be another one: W (x - m) / s + b = (W / s) x + b - W m / s.
    """
    if found.first is None:
        return {}
    weight, bias = found.state[f"{found.first}.weight"], found.state[f"{found.first}.bias"]
    channels = found.image[0]
    if not {len(told.mean), len(told.std)} <= {0, channels}:
        raise UserError(f"--mean and --std take a number for each of the {channels} channels.")
    mean = weight.new_tensor(told.mean or [0.0] * channels)
    std = weight.new_tensor(told.std or [1.0] * channels) * (1.0 if told.std else found.divisor / 255)
    scaled = weight / std[:, None, None]
    shifted = bias - (scaled * mean[:, None, None]).sum(dim=(1, 2, 3))
    return {f"{found.first}.weight": scaled, f"{found.first}.bias": shifted}


def _counters(model: Model) -> dict[str, Tensor]:
    """How many batches normalizations have seen, which others do not count."""
    counted = [name for name, _ in model.named_buffers() if name.endswith("num_batches_tracked")]
    return {name: torch.zeros((), dtype=torch.int64) for name in counted}
