"""A network to a file: captured, written beside its place, compared with the network, and only then put there."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.exporting import onnx_file, torch_file
from capsnet_dist.exporting.comparison import compare
from capsnet_dist.exporting.parts import Part, part_of, trace
from capsnet_dist.plugins import Model
from capsnet_dist.saved.weights import describe
from capsnet_dist.text import reason, to_json
from capsnet_dist.version import VERSION

Format = Literal["onnx", "torch"]
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}


class Exported(NamedTuple):
    """What was written."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float
    """The largest from the network, relative to the largest number of an output where that is above 1."""


def export(model: Model, part: Part, images: Tensor, file: Path, form: Format) -> Exported:
    """Write a part of a network in float32, for any batch; a file of that name is replaced.

    Args:
        model: The network, in evaluation mode.
        part: "encoder", "decoder" or "network".
        images: Five images in [0, 1], with which the file is compared to the network.
        file: Where it goes.
        form: "onnx" or "torch".

    Raises:
        UserError: it cannot be exported, differs from the network, or cannot be written.
    """
    how = onnx_file if form == "onnx" else torch_file
    if form == "onnx":
        onnx_file.require_packages()
    model = model.float().cpu()
    inputs = _inputs(model, part, images)
    traced = trace(part_of(model, part), {key: value[:2] for key, value in inputs.items()})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".exporting-", dir=file.parent) as beside:
            new = Path(beside) / f"new{SUFFIXES[form]}"
            how.write(traced, metadata(model, part), new)
            difference = compare(traced.module, how.runner(new), inputs)
            new.replace(file)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {reason(error)}. Name another file by --out.") from error
    return Exported(traced.inputs, traced.outputs, difference)


def metadata(model: Model, part: Part) -> dict[str, str]:
    """What a file says of itself: each value is JSON, but for names and versions."""
    assert model.choice is not None
    said = describe(model, model.choice, model.fit)
    kept = {"model": said["model"], "image": said["image"], "classes": said["classes"]}
    kept["preprocessing"] = said.get("preprocessing")
    return {key: to_json(value) for key, value in kept.items()} | {
        "normalization": model.normalization,
        "part": part,
        "capsnet_dist": VERSION,
    }


@torch.no_grad()
def _inputs(model: Model, part: Part, images: Tensor) -> dict[str, Tensor]:
    if part != "decoder":
        return {"images": images.float()}
    output = model(images.float())
    return {"poses": output.poses, "labels": output.scores.argmax(dim=-1)}
