"""`capsnet-dist predict`: what is in pictures."""

import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from capsnet_dist.analysis.answers import Answer, Noticed, answers
from capsnet_dist.data.image_files import find_images
from capsnet_dist.data.reading import Reading
from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded
from capsnet_dist.plugins import Model
from capsnet_dist.ranges import Count, Shade
from capsnet_dist.saved.trained_run import TrainedRun, is_light_on_dark
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import complain, say
from capsnet_dist.screen.counting import counting
from capsnet_dist.screen.rows import Csv, JsonArray, JsonLines, Rows, Table, output

STANDARD = Path("-")


def predict(
    run: str,
    images: tuple[Path, ...],
    /,
    *,
    csv: Path | None = None,
    jsonl: Path | None = None,
    json: bool = False,
    top: Count | None = None,
    threshold: float | None = None,
    background: Shade | None = None,
    invert: bool = False,
    batch_size: Count = 256,
    imports: tuple[str, ...] = (),
) -> None:
    """Name the class of pictures, prepared as those that the network was trained with.

    A file that cannot be read is told on standard error, its row is empty, and the exit code is 1.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub.
        images: Image files, folders of them, or patterns such as "new/*.png"; - reads their names from standard input,
            one a line.
        csv: Write comma-separated values to this file, in place of the table; - is standard output.
        jsonl: Write a JSON object a line to this file; - is standard output.
        json: Print one JSON array.
        top: Classes to name for each picture, the best first. Without it a table names one, and files have the score
            of every class.
        threshold: Lowest score of a class that is named; "none of these" where all are lower.
        background: Shade behind transparent pixels, from 0 (black) to 255 (white); that of the training if not given.
        invert: Make light dark and dark light, as ink on paper needs where the network knows light on dark.
        batch_size: Images that are computed together.

    Raises:
        UserError: there is nothing to predict, or the network takes no such pictures.
    """
    files, total = _files(images)
    model = load(run).to("cuda" if torch.cuda.is_available() else "cpu")
    reading = Reading.of(model, background, is_inverted=invert)
    form = _Form(model.classes, top and min(top, len(model.classes)), threshold)
    noticed = Noticed(reading, is_light_on_dark(run), say)
    found = answers(model, reading, views_of(model, run), files, batch_size, noticed)
    done = broken = 0
    with _sinks(form, csv, jsonl, json) as sinks:
        with counting("predicting", total) as counted:
            for answer in found:
                for sink in sinks:
                    sink.write(answer)
                if answer.scores is None:
                    complain(answer.problem)
                done, broken = done + 1, broken + (answer.scores is None)
                counted()
        for sink in sinks:
            sink.close()
    noticed.sum_up()
    if broken:
        say(f"{broken:,} of {done:,} files could not be read.")
        sys.exit(1)


def read_images(model: Model, run: str, files: Sequence[Path]) -> UInt8[Tensor, "n c h w"]:
    """Image files as the network of a run takes them.

    Raises:
        UserError: one cannot be read.
    """
    reading = Reading.of(model)
    noticed = Noticed(reading, is_light_on_dark(run), say)
    read = [reading(file) for file in files]
    for file, found in zip(files, read, strict=True):
        noticed(file, found)
    noticed.sum_up()
    return views_of(model, run)(torch.stack([found.pixels for found in read]))[0]


class _Form(NamedTuple):
    """How answers are written."""

    classes: tuple[str, ...]
    top: int | None
    threshold: float | None

    def columns(self, *, every: bool) -> list[str]:
        ranks = ("", *(f"_{rank}" for rank in range(2, (self.top or 1) + 1)))
        named = [f"{word}{rank}" for rank in ranks for word in ("name", "score")]
        return ["file", *named, *(f"score:{name}" for name in self.classes if every and self.top is None)]

    def cells(self, answer: Answer, *, every: bool) -> list[str]:
        """As a row, with the score of every class if wanted."""
        if answer.scores is None:
            return [str(answer.file), *[""] * (len(self.columns(every=every)) - 1)]
        named = [cell for name, score in self._ranked(answer.scores) for cell in (name or "", _number(score, every))]
        rest = [_number(score, every) for score in answer.scores if every and self.top is None]
        return [str(answer.file), *named, *rest]

    def shown(self, answer: Answer) -> list[str]:
        """As a row for people."""
        file, name, *rest = self.cells(answer, every=False)
        return [file, name or ("none of these" if answer.scores else "cannot be read"), *rest]

    def values(self, answer: Answer) -> dict[str, Any]:
        if answer.scores is None:
            return {"file": str(answer.file), "name": None, "score": None, "scores": None, "error": answer.problem}
        (name, score), *_ = self._ranked(answer.scores)
        scores = dict(zip(self.classes, answer.scores, strict=True))
        if self.top is not None:
            scores = dict(sorted(scores.items(), key=lambda pair: -pair[1])[: self.top])
        return {"file": str(answer.file), "name": name, "score": score, "scores": scores}

    def _ranked(self, scores: Sequence[float]) -> list[tuple[str | None, float]]:
        """The best classes, and None for what is below the threshold."""
        best = sorted(zip(self.classes, scores, strict=True), key=lambda pair: -pair[1])[: self.top or 1]
        lowest = float("-inf") if self.threshold is None else self.threshold
        return [(name if score >= lowest else None, score) for name, score in best]


def _number(score: float, exact: bool) -> str:
    return str(score) if exact else f"{score:.3f}"


@contextmanager
def _sinks(form: _Form, csv: Path | None, jsonl: Path | None, json: bool) -> Generator[list[Rows[Answer]]]:
    """Where answers are written to: the files that are named, or else standard output."""
    with ExitStack() as stack:
        sinks: list[Rows[Answer]] = [JsonArray(form.values)] if json else []
        if csv is not None:
            stream = stack.enter_context(output("--csv", csv))
            sinks.append(Csv(form.columns(every=True), lambda answer: form.cells(answer, every=True), stream))
        if jsonl is not None:
            sinks.append(JsonLines(form.values, stack.enter_context(output("--jsonl", jsonl))))
        yield sinks or [Table(form.columns(every=False), form.shown)]


def _files(words: Sequence[Path]) -> tuple[Iterable[Path], int | None]:
    """What is named on the command line, and how many that is; None where standard input names them."""
    if not words:
        raise UserError("predict needs at least one image, a folder or -: capsnet-dist predict RUN IMAGE.")
    if STANDARD not in words:
        found = find_images(words)
        return found, len(found)
    if len(words) > 1:
        raise UserError("- reads all names from standard input: give no others beside it.")
    return (expanded(name) for line in sys.stdin if (name := line.rstrip("\r\n"))), None


def views_of(model: Model, run: str) -> Callable[[Tensor], Sequence[Tensor]]:
    """What the network sees of images: parts of them, if an augmentation cut what it was trained with."""
    if model.fit is None or model.fit.image == model.image:
        return lambda images: [images]
    return TrainedRun(run).views
