"""`capsnet-dist compare`: the same network, data and settings, several routings and seeds, one table.

Every run is a process of its own, so that its memory and its speed are not those of the runs before it.
"""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from capsnet_dist import config
from capsnet_dist.analysis.comparison import Row, save, show, summarize
from capsnet_dist.analysis.diagnosis import diagnose, watched_steps
from capsnet_dist.errors import UserError
from capsnet_dist.files import new_folder, read_json
from capsnet_dist.plugins import datasets, losses, models
from capsnet_dist.plugins import routings as known
from capsnet_dist.registry import Choice
from capsnet_dist.reproduction.recipes import described, file_of
from capsnet_dist.reproduction.results import refuse_others
from capsnet_dist.run import Run, check
from capsnet_dist.saved import weights
from capsnet_dist.text import reason
from capsnet_dist.train import train
from capsnet_dist.world import world_size

TRY = "from capsnet_dist.commands.compare import try_alone; try_alone()"


def compare(
    recipe: str = "",
    /,
    *,
    data: Choice[Any],
    routings: str = "dynamic,uniform",
    baseline: str = "",
    seeds: int = 3,
    steps: int | None = None,
    epochs: int | None = None,
    folder: Path | None = None,
    resume: bool = False,
    imports: tuple[str, ...] = (),
) -> None:
    """Train each routing in turn, with the same network and settings, and print and save a table and a plot.

    The table says by how much each differs from the baseline over the same seeds, with a confidence interval of 95 %.

    Args:
        recipe: Whose network and settings all of them take: a file, or a name in recipes/; a CapsNet if not given.
        data: Data set; the recipe's if not given.
        routings: Their names, separated by commas; options follow a name: dynamic,em:iterations=2:final_beta=0.02.
        baseline: What the others are compared with, written as above; the first if not given.
        seeds: Runs for each routing: seeds 0, 1, and so on.
        steps: End after this many steps, whatever the epochs.
        epochs: Passes over the training images; 10, or those of the recipe, if not given.
        folder: Where the table and the runs go; must not exist yet. A new folder "comparison", or "comparison-2" and
            so on, if not given.
        resume: Go on in the folder: what is done is not done again.

    Raises:
        UserError: a name or number that cannot work, or a routing that failed; the others are compared all the same.
    """
    if recipe:
        run, _ = described(file_of(recipe))
        run = replace(run, data=data, steps=steps, epochs=run.epochs if epochs is None else epochs)
    else:
        narrow = min(data.build().split("test").images.shape[2:]) < 17  # two kernels of 9 need 17 pixels
        model = models("capsnet", channels=64, kernel=3, primary_kernel=3) if narrow else models("capsnet")
        run = Run(name="compare", model=model, data=data, loss=losses("margin"), steps=steps, epochs=epochs or 10)
    words = [word.strip() for word in routings.split(",") if word.strip()]
    rows = compare_routings(run, words, seeds, folder, imports, baseline, resume)
    if failed := [row for row in rows if row.problem]:
        raise UserError("; ".join(f"{row.routing} failed: {row.problem}" for row in failed))


def compare_routings(
    run: Run,
    routings: Sequence[str],
    seeds: int,
    folder: Path | None,
    imports: Sequence[str] = (),
    baseline: str = "",
    resume: bool = False,
) -> list[Row]:
    """Train each routing in turn, print the table, and save it as JSON, Markdown, CSV and a plot.

    Args:
        run: What all of them share; its model must have an option called routing.
        routings: Their names, each with the options that differ from its defaults: "em:iterations=2".
        seeds: Runs for each: the run's seed, the next, and so on.
        folder: Where the table and the runs go; must not exist yet. A new folder "comparison", or "comparison-2" and
            so on, if not given.
        imports: Python files or modules that register plugins, which every run imports as the caller has done.
        baseline: One of the routings; the first if not given.
        resume: Go on in the folder, which may exist then.

    Raises:
        UserError: a name or number that cannot work; that a routing fails to train is said in its row.
    """
    if seeds < 1 or not routings:
        raise UserError(f"{seeds} seeds of {len(routings)} routings: there must be at least one of each.")
    if world_size() > 1:
        raise UserError("A comparison starts its own runs: start it as one process.")
    if "routing" not in run.model.options:
        raise UserError(f"Network {run.model.name!r} has no routing to exchange.")
    check(run, 1)
    chosen = {word: _routing(word) for word in routings}
    baseline = baseline or routings[0]
    if baseline not in chosen:
        raise UserError(
            f"--baseline {baseline}: it must be one of the routings, written as there: {', '.join(chosen)}."
        )
    folder = _made(folder, resume)
    tries: dict[str, list[dict[str, Any]]] = {}
    rows: list[Row] = []
    for word, routing in chosen.items():
        own = replace(run, model=run.model.replace(routing=routing), resume="auto" if resume else None)
        places = [(seed, folder / f"{word.replace(':', '-')}-{seed}") for seed in range(run.seed, run.seed + seeds)]
        tries[word] = [_measured(replace(own, seed=seed, run_dir=place), imports) for seed, place in places]
        rows = summarize(tries, baseline)
        save(rows, run, folder, baseline)  # each time: a comparison that is stopped keeps what it has
    show(rows, baseline)
    return rows


def _routing(word: str) -> Choice[Any]:
    """A routing by its name and what differs from its defaults: "em:iterations=2"."""
    name, *pairs = word.split(":")
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UserError(f"{word}: an option is written as NAME=VALUE; got {pair!r}.")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value  # a word, such as "last"
    choice = config.from_dict(known(name), options, name)
    config.check_ranges(choice, f"{name}.")
    return choice


def _measured(run: Run, imports: Sequence[str]) -> dict[str, Any]:
    """What a run came to: as it is noted beside its folder, or else by training it, or going on with it."""
    assert run.run_dir is not None
    note = run.run_dir.with_name(f"{run.run_dir.name}.json")
    if run.resume:
        refuse_others(run.run_dir, run)
        if note.exists():
            return read_json(note)
    found = _try(run, imports)
    if "problem" not in found:
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps(found) + "\n", encoding="ascii")
    return found


def _made(folder: Path | None, resume: bool = False) -> Path:
    if resume and folder is None:
        raise UserError("--resume goes on in --folder FOLDER: name it.")
    try:
        if folder is None:
            return new_folder(Path("comparison"))
        folder.mkdir(parents=True, exist_ok=resume)
        return folder
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {reason(error)}. Choose another folder.") from error


def measure(run: Run) -> dict[str, float | None]:
    """Train in this process, and say what came of it and what it took; the run must name its folder.

    Raises:
        UserError: the configuration cannot work.
    """
    assert run.run_dir is not None
    with watched_steps() as steps:
        accuracy = train(run)["selected"]
    seconds = steps.seconds()
    model = weights.load(run.run_dir).to("cuda" if torch.cuda.is_available() else "cpu")
    entropy, dead = diagnose(model, run.data.build().split("test"), still=run.augmentation.build().still)
    return {
        "accuracy": accuracy,
        "images_per_second": run.batch_size / statistics.median(seconds) if seconds else None,
        "memory": steps.memory / 2**20,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "entropy": entropy,
        "dead": dead,
    }


def _try(run: Run, imports: Sequence[str]) -> dict[str, Any]:
    """Train and measure in a new process; its findings, or its problem."""
    words = {"argv": sys.argv, "orig_argv": sys.orig_argv}
    job = json.dumps({"run": config.to_dict(run), "imports": list(imports), **words}).encode()
    done = subprocess.run([sys.executable, "-c", TRY], input=job, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return {"problem": f"the run ended with exit code {done.returncode}; see its messages above"}
    return json.loads(done.stdout.splitlines()[-1])  # other lines may be of any encoding


def try_alone() -> None:
    """What the process of one run does: read a job from standard input, write what it finds to standard output."""
    job = json.loads(sys.stdin.read())
    sys.argv[:], sys.orig_argv[:] = job["argv"], job["orig_argv"]  # the command that the run folder records
    for source in job["imports"]:
        config.import_plugins(source)
    nothing = Run(name="", model=models("capsnet"), data=datasets("digits"), loss=losses("margin"))
    try:
        found = measure(config.from_dict(nothing, job["run"]))
    except UserError as error:
        found = {"problem": str(error)}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
