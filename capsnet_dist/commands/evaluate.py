"""`capsnet-dist evaluate`: what a saved network achieves, measured as its training did."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import torch
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor

from capsnet_dist.errors import UserError
from capsnet_dist.files import expanded, read_json
from capsnet_dist.kernels import fast_paths, follow_precision
from capsnet_dist.objects import aligned
from capsnet_dist.processes.launching import make_evaluator, part_at_exit
from capsnet_dist.processes.requests import on_gpu
from capsnet_dist.record.remarks import CLASS_COLUMNS, MAX_CLASSES, class_rows, class_values, further_rates, remarks
from capsnet_dist.record.results import Evaluation
from capsnet_dist.registry import Choice
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import print_json, print_table, say
from capsnet_dist.screen.rows import Csv, output
from capsnet_dist.training import evaluation
from capsnet_dist.training.isolation import isolated
from capsnet_dist.training.step_metrics import sum_over_processes


def evaluate(
    run: str,
    /,
    *,
    data: Choice[Any],
    split: Literal["test", "validation", "train"] = "test",
    json: bool = False,
    csv: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Evaluate a trained network as its training did; the test accuracy is that of "selected" on the model card.

    Other pictures are prepared as those of the training, and their classes matched by name.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub; it stands first.
        data: Data set; the default is that of the training, whose options RUN --help shows.
        split: "validation" is the part of "train" that was held out.
        json: Print JSON.
        csv: Write the class, prediction and scores of each image to this file, by which mistakes are found; - is
            standard output, in place of the table.

    Raises:
        UserError: the network does not take these images, or was not left by a training.
    """
    with isolated(), fast_paths(allowed=True):
        model, trained = load(run), TrainedRun(run)
        accelerator = make_evaluator(_precision(trained))
        follow_precision(accelerator.mixed_precision)
        part = trained.part(model, data, split).to(accelerator.device)
        network, criteria = model.to(accelerator.device), trained.criteria()
        scores = torch.zeros(len(part.labels) if csv else 0, len(model.classes), dtype=torch.float64)

        def keep(indices: Tensor, found: Tensor) -> None:
            if csv is not None:
                scores[indices.cpu()] = found.double().cpu()

        result = evaluation.evaluate(network, part, criteria, accelerator, views=trained.views, told=keep)
        if csv is not None:
            scores = sum_over_processes(scores.to(accelerator.device), accelerator).cpu()
        part_at_exit()
        if not accelerator.is_main_process:
            return
        _say_what_is_left_out(trained, data, split)
        if csv is not None:
            _write(csv, trained.names(model, data, split), part.labels.cpu(), scores, model.classes)
        if json or str(csv) != "-":
            _print_evaluation(result, split, model.classes, json)
        if csv is None and not json and result.accuracy < 1:
            print("\nWhich images went wrong: --csv FILE has each with its class, prediction and scores.")  # noqa: T201


def _say_what_is_left_out(trained: TrainedRun, data: Choice[Any], split: str) -> None:
    """That pictures of other folders are divided as well, where only their test split is evaluated."""
    own = None if trained.is_imported else trained.data()
    if split == "test" and data != own and data.options.get("share", 1) != 1:
        say(f"Where {data.name} has no test split of its own, a share of it is taken; all of it: --data.share 1.")


def _precision(trained: TrainedRun) -> str:
    """The mixed precision that the training evaluated in, since it moves a few predictions."""
    file = expanded(trained.source) / "environment.json"
    place: Any = read_json(file) if file.is_file() else trained.entry
    if not isinstance(place, dict):
        raise UserError(f"{file} does not say where the run was made: it holds {place!r:.200}.")
    wanted = cast(dict[str, Any], place).get("mixed_precision")
    if wanted == "fp16" and not on_gpu():
        say("trained in fp16, which needs a GPU; evaluated without mixed precision.")
        return "no"
    return wanted if wanted in ("bf16", "fp16") else "no"


def _write(
    file: Path,
    names: Sequence[str],
    labels: Int64[Tensor, "n *m"],
    scores: Float[Tensor, "n j"],
    classes: Sequence[str],
) -> None:
    """A line for each image, in the order of the data set; several classes of an image stand in one cell."""
    several = [rearrange(found, "n ... -> n (...)") for found in (labels, aligned(scores, labels))]
    columns = [cast(list[list[int]], found.tolist()) for found in several]

    def cells(index: int) -> list[str]:
        true, predicted = (" ".join(classes[label] for label in column[index]) for column in columns)
        right = "yes" if true == predicted else "no"
        return [names[index], true, predicted, right, *map(str, scores[index].tolist())]

    with output("--csv", file) as stream:
        rows = Csv(["image", "class", "predicted", "right", *(f"score:{name}" for name in classes)], cells, stream)
        for index in range(len(names)):
            rows.write(index)
        rows.close()


def _print_evaluation(result: Evaluation, split: str, classes: Sequence[str], json: bool) -> None:
    if json:
        values = {"split": split, "images": result.num_samples, **result.rates, "loss": result.loss}
        values |= {"terms": result.terms, "classes": list(classes), "per_class": class_values(result, classes)}
        print_json(values | {"confusion": result.confusion.tolist()})
        return
    accuracy = f"{split} accuracy {100 * result.accuracy:.2f} % of {result.num_samples} images"
    terms = [f"{name} {value:.4f}" for name, value in result.terms.items()]
    further = "  ".join(further_rates(result))
    lines = [accuracy, further, *(["  ".join([f"loss {result.loss:.4f}", *terms])] if terms else [])]
    print("\n".join([*lines, *remarks(result, classes), ""]))  # noqa: T201
    caption, rows = class_rows(result, classes)
    if caption:
        print(f"{caption} --json has all of them.")  # noqa: T201
    print_table(CLASS_COLUMNS, rows)
    if len(classes) <= MAX_CLASSES:
        counts = cast(list[list[int]], result.confusion.tolist())
        print("\nTrue classes down, predicted ones across:")  # noqa: T201
        print_table(["", *classes], [[name, *map(str, row)] for name, row in zip(classes, counts, strict=True)])
