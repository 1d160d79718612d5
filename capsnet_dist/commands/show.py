"""`capsnet-dist show`: figures of a saved network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from capsnet_dist.analysis.gallery import FIGURES, fitting
from capsnet_dist.analysis.subject import NotShown, Subject
from capsnet_dist.commands.predict import read_images
from capsnet_dist.errors import UserError, did_you_mean
from capsnet_dist.figures.canvas import Theme, theme
from capsnet_dist.files import expanded
from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import Split
from capsnet_dist.ranges import Count, Natural, Positive
from capsnet_dist.record import metrics_file
from capsnet_dist.record.summary import without_seed
from capsnet_dist.registry import Choice
from capsnet_dist.saved import hub
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import say
from capsnet_dist.text import printable, reason
from capsnet_dist.training.isolation import isolated

Format = Literal["png", "pdf", "svg"]


def show(
    run: str,
    figures: tuple[str, ...] = (),
    /,
    *,
    data: Choice[Any],
    images: tuple[Path, ...] = (),
    split: Literal["test", "validation", "train"] = "test",
    number: Count = 500,
    first: Natural = 0,
    reach: Positive = 0.25,
    rows: Count = 16,
    beside: tuple[Path, ...] = (),
    page: Theme = "light",
    format: Format = "png",
    out: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Draw figures of a trained network into files, and print their names.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub; it stands first.
        figures: reconstructions, overlaps (of images of two objects), poses, confusion, curves, couplings, agreement,
            lengths, pose_space; without a name all that can be drawn.
        data: Data set; the default is that of the training, whose options RUN --help shows.
        images: Image files to show instead of a data set.
        split: Which images of the data set; "validation" is the part of "train" that was held out.
        number: How many of them.
        first: Which image comes first, counted from 0: poses and couplings show that one.
        reach: How far a number of a pose is moved down and up.
        rows: How many numbers of a pose are moved, at most: those that change the image most.
        beside: Folders of further runs for the curves; runs that differ in their seeds alone share a line.
        page: For a light or a dark page.
        format: Of the files; pdf and svg can be enlarged.
        out: Folder for the figures, which replace older ones; RUN/figures if not given, and
            OWNER-NAME-figures for a run on the Hub. A name that ends with .png, .pdf or .svg is the file of a single
            figure.

    Raises:
        UserError: an unknown figure, or one that cannot be drawn, such as reconstructions without a decoder.
    """
    if unknown := [name for name in figures if name not in FIGURES]:
        raise UserError(f"Unknown figure {unknown[0]!r}.{did_you_mean(unknown[0], FIGURES)}")
    place = hub.folder_beside(run, "figures") if out is None else out
    if _is_file(place) and len(figures) != 1:
        raise UserError(f"--out {place}: a file holds one figure: name one after {run}, or a folder.")
    with isolated(), fast_paths(allowed=True), theme(page):
        model = load(run)
        if images:
            pixels, true = read_images(model, run, images), None
        else:
            trained = TrainedRun(run)
            some = _images(trained.part(model, data, split), number, first)
            pixels, true = trained.still(some.pixels), some.labels
        subject = Subject(model, pixels, true, _lines([expanded(run), *beside]), reach, rows)
        _draw(subject, figures, place, format)


def _is_file(place: Path) -> bool:
    return place.suffix[1:].lower() in get_args(Format) and not place.is_dir()


def _draw(subject: Subject, names: Sequence[str], folder: Path, suffix: str) -> None:
    """Draw what is named, or all that can be drawn."""
    several = subject.true is not None and subject.true.ndim > 1
    for name in names or fitting(several):
        try:
            figure = FIGURES[name](subject)
        except NotShown as error:
            if names:
                raise UserError(f"{name} cannot be drawn: {error}.") from error
            say(f"no figure {name}: {error}.")
            continue
        file = folder if _is_file(folder) else folder / f"{name}.{suffix}"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(file)
        except OSError as error:
            raise UserError(f"{file} cannot be written: {reason(error)}. Name another folder by --out.") from error
        print(printable(str(file)))  # noqa: T201


def _images(part: Split, number: int, first: int) -> Split:
    """Some of the images, and their classes."""
    if first >= len(part.labels):
        raise UserError(f"--first {first}: there are {len(part.labels)} images, counted from 0.")
    return part.select(torch.arange(first, min(first + number, len(part.labels))))


def _lines(folders: Sequence[Path]) -> Mapping[str, list[list[dict[str, Any]]]]:
    """The metrics of runs, by the name of the first of those that differ in their seeds alone."""
    found: dict[str, list[list[dict[str, Any]]]] = {}
    names: dict[str, str] = {}
    for number, folder in enumerate(folders):
        file = folder / "metrics.jsonl"
        if file.is_file():
            name = names.setdefault(without_seed(folder), folder.name)
            found.setdefault(name, []).append(metrics_file.whole_lines(file))
        elif number:  # the first may lie on the Hub
            raise UserError(f"--beside {folder}: it holds no metrics.jsonl: give the folder of a run.")
    return found
