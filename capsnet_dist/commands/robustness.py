"""`capsnet-dist robustness`: what a trained network still gets right when its images are changed or attacked."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

import torch

from capsnet_dist import config
from capsnet_dist.errors import UserError
from capsnet_dist.files import write_whole
from capsnet_dist.kernels import fast_paths
from capsnet_dist.plugins import Model, Split
from capsnet_dist.ranges import Count, Natural, Shares
from capsnet_dist.registry import Choice
from capsnet_dist.robustness.foreign import look_at_foreign
from capsnet_dist.robustness.masking import flat_gradients
from capsnet_dist.robustness.measure import KINDS, Kind, Plan, measure
from capsnet_dist.robustness.pictures import draw
from capsnet_dist.robustness.report import Report
from capsnet_dist.robustness.summary import summarized
from capsnet_dist.robustness.trial import Key, Trial, Tried, chosen
from capsnet_dist.saved import hub
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.saved.weights import load
from capsnet_dist.screen.console import print_json, print_table, tolerated
from capsnet_dist.text import listed, printable, reason, to_json
from capsnet_dist.training.isolation import isolated
from capsnet_dist.world import world_size


def robustness(
    run: str,
    /,
    *,
    data: Choice[Any],
    split: Literal["test", "validation", "train"] = "test",
    limit: Count = 200,
    kinds: tuple[Kind, ...] = KINDS,
    eps: Shares = Plan.eps,
    steps: Count = Plan.steps,
    restarts: Count = Plan.restarts,
    queries: Natural = Plan.queries,
    transfer: str | None = None,
    targeted: bool = False,
    foreign: str = "",
    seed: int = 0,
    batch_size: Count = 128,
    json: bool = False,
    out: Path | None = None,
    imports: tuple[str, ...] = (),
) -> None:
    """Try a trained network on transformed, corrupted and attacked images; print tables, save them, and draw them.

    Attacks change the pixels that the network sees, in [0, 1] and before it normalizes them.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub; it stands first.
        data: Data set; the default is that of the training, whose options RUN --help shows.
        split: "validation" is the part of "train" that was held out.
        limit: Images, drawn from all of the split; attacks take hundreds of times as long as an evaluation.
        kinds: What is tried. transformations: turned, sheared, stretched and moved in affNIST's ranges. corruptions:
            those of MNIST-C. attacks: FGSM, PGD and Square Attack.
        eps: By how much attacks may change each pixel, of 1.
        steps: Of PGD, from each start.
        restarts: Starts of PGD at random places.
        queries: How often Square Attack, which sees no gradient, asks the network of each image; 0 leaves it out.
        transfer: Run folder or Hub id of another network for the same images, whose adversarial images are tried, too.
        targeted: Attack also towards other classes, one drawn for each image.
        foreign: Another data set with images of this size, by name: how well they are told apart by what is not
            rebuilt.
        seed: What is random follows from this, and from the number of the image.
        batch_size: Images that are computed together.
        json: Print JSON.
        out: Folder for robustness.json, robustness.png and images.png, which replace older ones; RUN/robustness if
            not given, and OWNER-NAME-robustness for a run on the Hub.

    Raises:
        UserError: the network does not take these images, or they cannot be attacked.
    """
    if world_size() > 1:
        raise UserError("Robustness is measured by one process: start it without a launcher.")
    with isolated(), fast_paths(allowed=True):
        model, trained = load(run).float(), TrainedRun(run)
        part = trained.part(model, data, split)
        _refuse(model, part, kinds, targeted)
        numbers = chosen(part, limit, seed)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        trial = Trial(model.to(device), part.part(numbers), numbers, trained.still, batch_size)
        plan = Plan(kinds, eps, steps, restarts, queries, targeted, seed)
        other = None if transfer is None else replace(trial, model=_other(transfer, model).to(device))
        settings = {"run": run, "data": config.to_dict(data), "split": split, "of": len(part.labels)}
        strange = look_at_foreign(trial, foreign, data, seed) if foreign else {}  # first: it may be refused
        folder = _made(hub.folder_beside(run, "robustness") if out is None else out)
        tried = measure(trial, plan, other) | strange
        findings = flat_gradients(trial) if "attacks" in kinds else []
    report = summarized(tried, settings | {"transfer": transfer, "foreign": foreign} | vars(plan), findings)
    _save(report, tried, folder)
    if json:
        print_json(report.to_dict())
    else:
        _print(report)


def _other(source: str, model: Model) -> Model:
    """The network of another run, for the same images and classes.

    Raises:
        UserError: it is for others.
    """
    other = load(source).float()
    if (other.image, other.classes) != (model.image, model.classes):
        kinds = [f"{'x'.join(map(str, one.image))}: {listed(one.classes)}" for one in (other, model)]
        raise UserError(
            f"--transfer {source}: it is for {kinds[0]}; this network for {kinds[1]}. They must be the same."
        )
    return other.eval()


def _refuse(model: Model, part: Split, kinds: tuple[Kind, ...], targeted: bool) -> None:
    """Refuse attacks that have nowhere to go.

    Raises:
        UserError: there is no wrong class, or there are several objects and no single class to aim at.
    """
    objects = part.labels[:1].numel()
    if "attacks" in kinds and objects >= len(model.classes):
        raise UserError(f"The network has {len(model.classes)} class(es): there is no wrong one to attack towards.")
    if targeted and objects > 1:
        raise UserError(f"--targeted needs images of one object; these have {objects}. Leave it out.")


def _made(folder: Path) -> Path:
    """A folder that takes files; found out before the images are tried, which takes minutes.

    Raises:
        UserError: it does not.
    """
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            return folder


@contextmanager
def _writing(place: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{place} cannot be written: {reason(error)}. Name another folder by --out.") from error


def _save(report: Report, tried: Mapping[Key, Tried], folder: Path) -> None:
    file = folder / "robustness.json"
    with _writing(file):
        write_whole(file, to_json(report.to_dict(), indent=2) + "\n")
    with tolerated(f"no pictures in {folder}"):  # matplotlib, fonts or the disk may fail
        draw(report, tried, folder)


def _print(report: Report) -> None:
    known, of = f"each share is known to within ±{100 * report.error:.1f} points", report.settings["of"]
    print(f"{100 * report.accuracy:.1f} % of {report.images:,} of {of:,} images are right unchanged; {known} (95 %).")  # noqa: T201
    for title, columns, rows in report.tables():
        print(f"\n{printable(title)}")  # noqa: T201
        print_table(columns, rows)
    if report.findings:
        print("\n" + "\n".join(map(printable, report.findings)))  # noqa: T201
