"""What a run says and leaves behind: run folder, progress and tracker, all on rank 0."""

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from typing_extensions import override

from capsnet_dist import config, weights
from capsnet_dist.card import model_card
from capsnet_dist.errors import UserError
from capsnet_dist.evaluate import Evaluation
from capsnet_dist.figures import save_confusion, save_curves, save_poses, save_reconstructions
from capsnet_dist.folder import RunFolder, command, environment
from capsnet_dist.plugins import Model, Split
from capsnet_dist.progress import Progress, progress
from capsnet_dist.run import Run
from capsnet_dist.trackers import Tracker


class Record:
    """Keeps silent: what ranks above 0 hold."""

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        return None

    def say(self, text: str) -> None:
        """A line for people."""

    def start(self, model: Model, device: torch.device, num_steps: int, place: Mapping[str, Any]) -> None:
        """Before the first step: write configuration and environment, of which `place` is a part."""

    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        """After so many steps."""

    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        """What the weights called `name` achieve on a split after so many steps."""

    def reconstructions(self, step: int, model: Model, split: Split) -> None:
        """Images beside what the network makes of them."""

    def finish(self, model: Model, source: str, results: Mapping[str, Evaluation], shown: Split) -> None:
        """The weights to keep, where they come from, what they achieve on the test split, and images to show."""


class MainRecord(Record):
    """Writes the run folder, shows progress and feeds the tracker.

    Args:
        run: The configuration.

    Raises:
        UserError: the run folder exists or cannot be made, or the tracker is not installed.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.folder = RunFolder(run)
        self._progress: Progress | None = None
        self._tracker: Tracker | None = None

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(kind, *rest)
        if self._tracker is not None:
            self._tracker.close()
        refused = kind is not None and issubclass(kind, UserError) and self._progress is None
        self.folder.close(remove=refused or self.run.dry_run)

    @override
    def say(self, text: str) -> None:
        assert self._progress is not None
        self._progress.say(text)

    @override
    def start(self, model: Model, device: torch.device, num_steps: int, place: Mapping[str, Any]) -> None:
        run, path = self.run, self.folder.path
        described = weights.describe(run.model, model.image, model.classes) | {"run": _repeatable(run)}
        kind = "none" if run.dry_run else run.tracker
        self._tracker = Tracker(kind, project="capsnet_dist", name=path.name, config=described, folder=path)
        found = environment(device) | dict(place)
        self.folder.write("environment.json", json.dumps(found, indent=2) + "\n")
        self.folder.write("config.json", json.dumps(described, indent=2) + "\n")
        self._progress = progress(run.progress, num_steps, images_per_step=run.batch_size).__enter__()
        count = sum(parameter.numel() for parameter in model.parameters())
        self.say(f"{run.name}: {count:,} parameters, {found['processes']} process(es) on {found['device']}")

    @override
    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        assert self._progress is not None and self._tracker is not None
        self.folder.log(step=step, epoch=epoch, split="train", lr=lr, **metrics)
        self._progress.step(step, metrics)
        self._tracker.log({f"train/{name}": value for name, value in metrics.items()} | {"train/lr": lr}, step)

    @override
    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        assert self._tracker is not None
        values = {"accuracy": result.accuracy, "loss": result.loss, **result.terms}
        self.folder.log(step=step, split=split, weights=name, **values)
        self._tracker.log({f"{split}/{name}/{key}": value for key, value in values.items()}, step)
        accuracy = f"{split} accuracy of the {name} weights {100 * result.accuracy:.2f} %"
        self.say(f"step {step}  {accuracy}  loss {result.loss:.4f}")

    @override
    def reconstructions(self, step: int, model: Model, split: Split) -> None:
        assert self._tracker is not None
        file = self.folder.path / "samples" / f"{step:07d}.png"
        if save_reconstructions(model, split, file):
            self._tracker.image("reconstructions", file, step)

    @override
    def finish(self, model: Model, source: str, results: Mapping[str, Evaluation], shown: Split) -> None:
        path, samples = self.folder.path, self.folder.path / "samples"
        weights.save(model, path, run=_repeatable(self.run))
        save_curves(path / "metrics.jsonl", samples / "curves.png")
        if results:
            save_confusion(results["selected"].confusion, model.classes, samples / "confusion.png")
        if (change := save_poses(model, shown, samples / "poses.png")) is not None:
            self.folder.log(split="poses", pixel_change=change)
        self.folder.write("README.md", model_card(self.run, model, source, results, command(), path))
        self.say(f"{'Dry run: nothing kept in' if self.run.dry_run else 'Weights, metrics and samples:'} {path}")


def open_record(run: Run) -> Record:
    """The record of this process: written by rank 0 alone."""
    return MainRecord(run) if int(os.environ.get("RANK", "0")) == 0 else Record()


def _repeatable(run: Run) -> dict[str, Any]:
    """The run without what belongs to this one occasion."""
    values: dict[str, Any] = config.to_dict(run)
    del values["run_dir"], values["dry_run"]
    return values
