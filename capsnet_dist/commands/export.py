"""`capsnet-dist export`: a saved network as a file for other programs."""

from pathlib import Path

import torch
from torch import Tensor

from capsnet_dist.commands.predict import views_of
from capsnet_dist.errors import UserError
from capsnet_dist.exporting import export as files
from capsnet_dist.exporting.comparison import BATCHES
from capsnet_dist.exporting.onnx_file import OPSET
from capsnet_dist.exporting.parts import Part
from capsnet_dist.plugins import Model, to_unit
from capsnet_dist.saved import hub
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.text import printable


def export(
    run: str,
    /,
    *,
    format: files.Format = "onnx",
    part: Part = "encoder",
    pictures: bool = False,
    out: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Write a network as one file that programs without this package run, and compare it with the network first.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub.
        format: "onnx": for ONNX Runtime and the like. "torch": for torch.export.load.
        part: "encoder": images to scores and poses. "decoder": poses and labels to images. "network": images to scores,
            poses and reconstruction.
        pictures: Let the file take RGB pictures of any size, uint8, and do to them what the training did: resizing,
            gray, pads.
        out: The file; RUN/export/PART.onnx, or .pt2, if not given, and OWNER-NAME-export/PART.onnx for a run on the
            Hub. One that is there is replaced.

    Raises:
        UserError: the network has no such part, or cannot be expressed in the format; the message says what in it.
    """
    if pictures and part != "encoder":
        raise UserError(f"--pictures --part {part}: the encoder takes pictures. Leave out one of both.")
    model = load(run)
    name = "pictures" if pictures else part
    file = hub.folder_beside(run, "export") / f"{name}{files.SUFFIXES[format]}" if out is None else out
    if pictures:
        subject, compared = (
            files.picture_subject(model, views_of(model, run)),
            "predict, on a photograph in three sizes",
        )
    else:
        images, kind = example_images(model, run)
        batches = f"{', '.join(map(str, BATCHES[:-1]))} and {BATCHES[-1]}"
        subject, compared = files.part_subject(model, part, images), f"the network, on batches of {batches} {kind}"
    made = files.export(subject, files.metadata(model, name), file, format)
    ways = f"{', '.join(made.inputs)} -> {', '.join(made.outputs)}"
    what = f"ONNX opset {OPSET}" if format == "onnx" else "torch.export"
    print(printable(f"{file}: {what}, {ways}"))  # noqa: T201
    print(printable(f"largest difference {made.difference:.1e} from {compared}"))  # noqa: T201


def example_images(model: Model, run: str) -> tuple[Tensor, str]:
    """Five images to compare with, and what they are: test images of the training's data set, or noise."""
    number = BATCHES[-1]
    try:
        trained = TrainedRun(run)
        test = trained.part(model, trained.data(), "test")
    except UserError as error:
        noise = torch.rand(number, *model.image, generator=torch.Generator().manual_seed(0))
        return noise, f"images of noise, for there are no test images: {error}"
    some = torch.arange(number) % len(test.labels)
    return to_unit(trained.still(test.select(some).pixels), torch.float32), "test images"
