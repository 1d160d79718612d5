"""The page for any web server: the network as ONNX beside it, computed in the browser by ONNX Runtime."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.export import Dim

from capsnet_dist.analysis import iterations
from capsnet_dist.data.photographs import photographs
from capsnet_dist.data.reading import Reading
from capsnet_dist.demo.answers import about, encoded
from capsnet_dist.demo.page import assemble_static
from capsnet_dist.demo.stage import Stage, sample
from capsnet_dist.errors import UserError
from capsnet_dist.exporting.comparison import BATCHES, Case
from capsnet_dist.exporting.export import Subject, as_file, export, metadata, part_subject
from capsnet_dist.exporting.pictures import Preparation
from capsnet_dist.text import reason

TESTS = 50
"""Test images that travel with the page, at most."""
RUNTIME: Mapping[str, str] = {
    "ort.wasm.min.mjs": "ort.js",
    "ort-wasm-simd-threaded.mjs": "wasm.js",
    "ort-wasm-simd-threaded.wasm": "wasm.wasm",
}
"""Files of onnxruntime-web, and their names beside the page: some web servers do not know what .mjs is."""
SHADE = 1.5 / 255
"""How far a pixel may be from what Pillow makes of a picture: one shade, and rounding."""
ROUTED = 1e-3
"""How far a coupling may be from that of the network."""


class Pixels(nn.Module):
    """RGB pictures to what the network sees of them.

    Args:
        stage: The network.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.preparation, self.still = Preparation(stage.model.image, stage.model.fit), stage.still
        self.is_cut = stage.model.fit is not None and stage.model.fit.image != stage.model.image

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Shades from 0 to 1."""
        pixels = self.preparation(pictures)
        return {"pixels": (self.still(pixels) if self.is_cut else pixels).float() / 255}


class Couplings(nn.Module):
    """Images to what the last routing does.

    Args:
        stage: The network.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.model = stage.model

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Of the first image: maps "t j y x", entropy "t" and agreement "t j"."""
        found = iterations.watch(self.model, images)
        assert found is not None
        entropy = iterations.entropy(found.couplings)[:, 0].float()
        return {"maps": iterations.maps(found)[:, 0], "entropy": entropy, "agreement": found.agreement[:, 0]}


def runtime_files(folder: Path) -> dict[str, bytes]:
    """The files of onnxruntime-web that the page needs, by their names beside it.

    Args:
        folder: The package, unpacked, or its folder dist.

    Raises:
        UserError: they are not there.
    """
    places = [
        folder,
        folder / "dist",
        folder / "package" / "dist",
        folder / "node_modules" / "onnxruntime-web" / "dist",
    ]
    place = next((place for place in places if all((place / name).is_file() for name in RUNTIME)), None)
    if place is None:
        raise UserError(
            f"--onnxruntime-web {folder}: it does not hold {', '.join(RUNTIME)}. Get them by "
            "`npm pack onnxruntime-web` and `tar xzf onnxruntime-web-*.tgz`, or name the folder package that this made."
        )
    return {new: (place / name).read_bytes() for name, new in RUNTIME.items()}


def write_static(stage: Stage, images: Tensor, runtime: Mapping[str, bytes], folder: Path) -> None:
    """Write the page, the network and what computes it into a folder.

    Args:
        stage: The network.
        images: Five images in [0, 1], with which what is exported is compared to the network.
        runtime: Files of onnxruntime-web.
        folder: Where they go; files of these names are replaced.

    Raises:
        UserError: the network cannot be exported, or the folder not be written.
    """
    subjects = {"encoder": part_subject(stage.model, "encoder", images)}
    if stage.rebuilds:
        subjects["decoder"] = part_subject(stage.model, "decoder", images)
    said: dict[str, Any] = about([stage])
    if said["runs"][0]["drawable"]:
        subjects["pictures"] = _pictures(stage)
    for name, subject in subjects.items():
        export(subject, metadata(stage.model, name), folder / f"{name}.onnx", "onnx")
    number = 0 if stage.tests is None else min(TESTS, len(stage.tests.labels))
    said["runs"][0]["tests"] = number
    tests = [sample(stage, index) for index in range(number)]
    usual = [stage.usual(label) for label in range(len(stage.model.classes))]
    data = {
        "about": said,
        "background": 0 if stage.model.fit is None else stage.model.fit.background,
        "tests": [{"pixels": encoded(each.pixels), "truth": each.labels} for each in tests],
        "usual": [None if ends is None else ends.tolist() for ends in usual],
        "routing": _routing(stage, images, folder),
    }
    files = {"index.html": assemble_static(), "data.json": json.dumps(data).encode()}
    files |= {f"runtime/{name}": content for name, content in runtime.items()}
    for name, content in files.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        except OSError as error:
            raise UserError(f"--static {folder}: it cannot be written: {reason(error)}.") from error


def _pictures(stage: Stage) -> Subject:
    """What is done to pictures, compared with what Pillow does."""
    reading, cases = Reading.of(stage.model), list[Case]()
    for photograph in map(torch.from_numpy, photographs()):
        pixels = reading.sent(as_file(photograph), "The photograph").pixels[None]
        seen = pixels if tuple(pixels.shape[1:]) == stage.model.image else stage.still(pixels)
        cases.append(Case({"pictures": rearrange(photograph, "y x c -> 1 y x c")}, {"pixels": seen.float() / 255}))
    sizes = {"pictures": {1: Dim("height"), 2: Dim("width")}}
    return Subject(Pixels(stage), cases[1].inputs, sizes, cases, SHADE)


def _routing(stage: Stage, images: Tensor, folder: Path) -> dict[str, Any]:
    """What the page needs beside the couplings, which are a network of their own; or why there are none."""
    seen = iterations.watch(stage.model, images)
    if seen is None:
        return {"reason": "no routing that sees all parts of an image at once makes the class capsules"}
    module = Couplings(stage)
    cases = [
        Case({"images": images[place : place + 1]}, module(images[place : place + 1])) for place in range(max(BATCHES))
    ]
    subject = Subject(module, cases[0].inputs, {"images": {}}, cases, ROUTED)
    try:
        export(subject, metadata(stage.model, "routing"), folder / "routing.onnx", "onnx")
    except UserError as error:
        return {"reason": str(error).rstrip(".")}
    return {
        "even": 1 / seen.couplings.shape[-1],
        "parts": seen.couplings.shape[2],
        "extent": stage.extent._asdict(),
    }
