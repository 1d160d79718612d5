"""Exporting a network: captured, written beside its place, compared with the network, and only then moved there."""

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.export import Dim

from capsnet_dist.data.photographs import photographs
from capsnet_dist.data.reading import Reading
from capsnet_dist.errors import UserError
from capsnet_dist.exporting import onnx_file, torch_file
from capsnet_dist.exporting.comparison import BATCHES, Case, compare
from capsnet_dist.exporting.parts import Part, Sizes, batches, part_of, trace, without_lines
from capsnet_dist.exporting.pictures import PictureEncoder
from capsnet_dist.plugins import Model
from capsnet_dist.saved.weights import describe
from capsnet_dist.text import reason, to_json
from capsnet_dist.version import VERSION

Format = Literal["onnx", "torch"]
SUFFIXES: Mapping[Format, str] = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4
"""Of the outputs: rounding, and no more, stays below."""
PICTURE_TOLERANCE = 0.02
"""Of the scores of pictures, whose pixels may differ by a shade from what Pillow makes."""

Views = Callable[[Tensor], Sequence[Tensor]]


class Subject(NamedTuple):
    """What is written, and what it should compute."""

    module: nn.Module
    samples: Mapping[str, Tensor]
    sizes: Sizes
    cases: Sequence[Case]
    tolerance: float


class Exported(NamedTuple):
    """What was written."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float
    """The largest, relative to the largest number of an output where that is above 1."""


@torch.no_grad()
def part_subject(model: Model, part: Part, images: Float[Tensor, "5 c h w"]) -> Subject:
    """A part of a network, compared with itself on batches of 1, 2 and 5 of these images.

    Raises:
        UserError: the network has no such part.
    """
    model, module = model.float().cpu(), part_of(model, part)
    inputs = {"images": images}
    if part == "decoder":
        output = model(images)
        inputs = {"poses": output.poses, "labels": output.scores.argmax(dim=-1)}
    some = [{key: value[:number] for key, value in inputs.items()} for number in BATCHES]
    return Subject(module, some[1], batches(inputs), [Case(each, module(**each)) for each in some], TOLERANCE)


def picture_subject(model: Model, views: Views) -> Subject:
    """The encoder with what is done to pictures, compared with what `predict` says of a photograph in three sizes.

    Args:
        model: The network.
        views: What it sees of images: the mean of the scores counts.

    Raises:
        UserError: the network takes no pictures.
    """
    module, reading = PictureEncoder(model.float().cpu(), views), Reading.of(model)
    cases: list[Case] = []
    for photograph, number in zip(photographs(), BATCHES, strict=True):
        pictures = [photograph[::step] for step in (1, -1)]
        batch = torch.stack([torch.from_numpy(pictures[place % 2].copy()) for place in range(number)])
        pixels = torch.stack([reading.sent(as_file(each), "The photograph").pixels for each in batch])
        scores = torch.stack([model.predict(view).scores for view in views(pixels)]).mean(dim=0)
        cases.append(Case({"pictures": batch}, {"scores": scores}))
    sizes = {"pictures": {0: Dim("batch"), 1: Dim("height"), 2: Dim("width")}}
    return Subject(module, cases[2].inputs, sizes, cases, PICTURE_TOLERANCE)


def export(subject: Subject, metadata: Mapping[str, str], file: Path, form: Format) -> Exported:
    """Write a file, in float32; one of that name is replaced.

    Raises:
        UserError: it cannot be exported, does not compute what it should, or cannot be written.
    """
    how = onnx_file if form == "onnx" else torch_file
    if form == "onnx":
        onnx_file.require_packages()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with without_lines(), tempfile.TemporaryDirectory(prefix=".exporting-", dir=file.parent) as beside:
            traced = trace(subject.module, subject.samples, subject.sizes)
            new = Path(beside) / f"new{SUFFIXES[form]}"
            how.write(traced, metadata, new)
            difference = compare(how.runner(new), subject.cases, subject.tolerance)
            new.replace(file)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {reason(error)}. Name another file by --out.") from error
    return Exported(traced.inputs, traced.outputs, difference)


def metadata(model: Model, part: str) -> dict[str, str]:
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


def as_file(picture: Tensor) -> bytes:
    """A picture as an image file without loss."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, "BMP")
    return file.getvalue()
