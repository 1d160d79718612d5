"""What a run says and leaves behind: run folder, progress and tracker, all on rank 0."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Model, Split
from capsnet_dist.record import metrics_file, resumed
from capsnet_dist.record.base import Record
from capsnet_dist.record.card import Made, model_card
from capsnet_dist.record.environment import environment, now
from capsnet_dist.record.folder import RunFolder, resumed_step
from capsnet_dist.record.pictures import Pictures
from capsnet_dist.record.plugins import kept
from capsnet_dist.record.remarks import advice, class_rates, remarks
from capsnet_dist.record.results import Evaluation
from capsnet_dist.record.saver import Saver
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint, weights
from capsnet_dist.saved.checkpoint import Checkpoint
from capsnet_dist.saved.state import Wanted
from capsnet_dist.screen.console import tolerated
from capsnet_dist.screen.progress import Progress, progress, say
from capsnet_dist.text import reason, to_json
from capsnet_dist.world import rank


class MainRecord(Record):
    """Writes the run folder, shows progress and feeds the tracker.

    Args:
        run: The configuration.

    Raises:
        UserError: the run folder exists or cannot be made, or the tracker is not installed.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.folder = RunFolder(run)
        self._progress: Progress | None = None
        self._tracker: Tracker | None = None
        self._saved = time.monotonic()
        self._saver: Saver | None = None
        self._pictures: Pictures | None = None
        self._steps = 0
        self._accuracy, self._weight = 0.0, 0.0
        self._classes: Sequence[str] = ()
        self._further: dict[str, Any] = {}
        self._interruption = self._ended = ""
        self._unfinished = "preempted"
        self._is_full = False
        self._done = False

    @property
    @override
    def path(self) -> Path:
        return self.folder.path

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        refused = kind is not None and issubclass(kind, UserError) and self._progress is None
        with ExitStack() as last_first:
            last_first.callback(self.folder.close, remove=refused or self.run.dry_run)
            if self._tracker is not None:
                last_first.callback(tolerated("Warning: the tracker was not closed", say)(self._tracker.close))
            if self._progress is not None:
                why = self._interruption or self._ended if kind is None else f"{kind.__name__}: {rest[0]}"
                last_first.callback(self._end, "done" if self._done else "failed" if kind else self._unfinished, why)
                leave = tolerated("Warning: the progress was not shown to its end", say)(self._progress.__exit__)
                last_first.callback(leave, kind, *rest)
            if self._saver is not None:
                last_first.callback(self._saver.close)

    def _end(self, state: str, why: str) -> None:
        with suppress(UserError):  # where the folder has gone, that was said
            self._status(state, why)
            self._write_environment()

    @override
    def say(self, text: str) -> None:
        assert self._progress is not None
        self._progress.say(text)

    @override
    def start(
        self, model: Model, device: torch.device, num_steps: int, place: Mapping[str, Any], wanted: Wanted
    ) -> Checkpoint | None:
        run, path, self._classes = self.run, self.path, model.classes
        plugins = kept(run)
        imports = {"imports": plugins.entries} if plugins.entries else {}
        self._further = {"run": resumed.repeatable(run)} | imports
        described = weights.describe(model, run.model, model.fit) | self._further
        self._place: dict[str, Any] = environment(device) | dict(place) | {"plugins": plugins.hashes}
        self._saver = Saver(self.folder, run.checkpoint.keep, device.type, self.say)
        config_text = weights.config_json(described)
        found = resumed.find(run, path / "checkpoints", wanted) if self.folder.is_resumed else None
        if found is not None:
            resumed.compare(run, self._place, found)
            if resumed_step(run) is not None:
                checkpoint.forget(path / "checkpoints", found.step)
        self.folder.cut_metrics(found.step if found else 0)
        kind, name = "none" if run.dry_run else run.tracker, path.resolve().name
        self._tracker = Tracker(kind, project="capsnet_dist", name=name, config=described, folder=path)
        self.folder.write("environment.json", to_json(self._place, indent=2) + "\n")
        self.folder.keep(plugins.files)
        self.folder.write("config.json", config_text)
        first = self._steps = found.step if found else 0
        self._pictures = Pictures(path / "samples", first, num_steps, self._tracker.image, self._drawing)
        self._progress = progress(run.progress, num_steps, first, images_per_step=run.batch_size).__enter__()
        self._status("running", "")
        self.say(_data(run, model, place["images"]))
        count = sum(parameter.numel() for parameter in model.parameters())
        start = f", going on after step {first}" if first else ""
        self.say(
            f"{run.name}: {count:,} parameters, {place['processes']} process(es) on {self._place['device']}{start}"
        )
        return found

    @override
    def minutes_since_checkpoint(self) -> float:
        return (time.monotonic() - self._saved) / 60

    @override
    def checkpoint(
        self, step: int, tensors: Callable[[], Mapping[str, Mapping[str, Tensor]]], state: Callable[[], dict[str, Any]]
    ) -> None:
        assert self._saver is not None
        if not self.run.dry_run:
            self._saver.save(
                step, tensors(), state() | {"run": resumed.repeatable(self.run), "environment": self._place}
            )
            self._saved = time.monotonic()
            with suppress(UserError):  # a full disk ends no run
                self._write_environment()

    @override
    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        assert self._progress is not None and self._tracker is not None
        self._steps = step
        self._accuracy += 0.1 * (metrics["accuracy"] - self._accuracy)
        self._weight += 0.1 * (1 - self._weight)  # of the steps so far: the average starts from nothing
        self._log(step=step, epoch=epoch, split="train", lr=lr, **metrics)
        self._progress.step(step, metrics)
        self._tracker.log({f"train/{name}": value for name, value in metrics.items()} | {"train/lr": lr}, step)

    @override
    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        assert self._tracker is not None
        values = {**result.rates, "loss": result.loss, **result.terms}
        self._log(step=step, split=split, weights=name, **values)
        values |= class_rates(result, self._classes)
        self._tracker.log({f"{split}/{name}/{key}": value for key, value in values.items()}, step)
        accuracy = f"{split} accuracy of the {name} weights {100 * result.accuracy:.2f} %"
        self.say(f"step {step}  {accuracy}  loss {result.loss:.4f}")

    @override
    def reconstructions(self, step: int, model: Model, split: Split) -> None:
        assert self._pictures is not None
        self._pictures.evaluated(step, model, split)

    @override
    def interrupted(self, why: str, state: str) -> None:
        self._interruption, self._unfinished, self._done = why, state, False
        self.say(f"Interrupted: {why}. To go on: --run-dir {self.path} --resume auto")

    @override
    def ended(self, why: str) -> None:
        self._ended = why
        self.say(f"{why}.")

    @override
    def keep(self, model: Model, source: str, *, is_done: bool) -> None:
        weights.save(model, self.path, **self._further)
        self._write_card(model, source, {}, is_done)
        self._done = is_done

    @override
    def finish(self, model: Model, source: str, results: Mapping[str, Evaluation], shown: Split) -> None:
        self._write_card(model, source, results, self._done)
        self._advise(results.get("selected"))
        self._illustrate(model, results.get("selected"), shown)
        assert self._saver is not None
        self._saver.wait()
        if self._interruption and self._saver.unsaved:
            raise UserError(f"Interrupted with {self._saver.unsaved}. Make room: --resume goes on from the one before.")
        self.say(f"{'Dry run: nothing kept in' if self.run.dry_run else 'Weights, metrics and samples:'} {self.path}")

    def _write_card(self, model: Model, source: str, results: Mapping[str, Evaluation], is_done: bool) -> None:
        """README.md, and what of the metrics found no room before: without both a run is not finished."""
        source = f"{source}. {self._ended}" if self._ended else source
        made = Made(self._place["command"], self._place["images"], [*self._place["plugins"]])
        card = model_card(self.run, model, source, results, made, self.path, is_done=is_done)
        self.folder.write("README.md", card)
        self.folder.keep_metrics()

    def _advise(self, result: Evaluation | None) -> None:
        """What stands out in the classes, and what to try where nothing was learned."""
        if result is None or self.run.dry_run:
            return
        for remark in remarks(result, self._classes):
            self.say(f"Test images: {remark}")
        if self._weight and (advised := advice(result, self._accuracy / self._weight)):
            self.say(advised)

    def _illustrate(self, model: Model, result: Evaluation | None, shown: Split) -> None:
        assert self._pictures is not None
        with tolerated(f"Warning: no pictures in {self.path / 'samples'}", say):
            lines = metrics_file.read(self.path / "metrics.jsonl")
            change = self._pictures.finished(self._steps, model, shown, lines, result)
            if change is not None:
                self._log(split="poses", pixel_change=change)

    def _drawing(self, file: Path) -> AbstractContextManager[None]:
        """The network, matplotlib, Pillow, fonts or the disk may fail."""
        return tolerated(f"Warning: no picture {file}", say)

    def _log(self, **values: Any) -> None:
        """Add a line to the metrics; a full disk is said once, and the line written when there is room again."""
        try:
            self.folder.log(**values)
            self._is_full = False
        except OSError as error:
            if not self._is_full:
                self.say(f"Warning: {self.path / 'metrics.jsonl'} cannot be written for now: {reason(error)}.")
            self._is_full = True

    def _write_environment(self) -> None:
        """environment.json, with how long the run has been seen at work: times of files do not outlive a copy."""
        self.folder.write("environment.json", to_json(self._place | {"until": now()}, indent=2) + "\n")

    def _status(self, state: str, why: str) -> None:
        """STATUS.json: running, done, preempted, stopped or failed, and why; launchers turn every exit code into 1."""
        self.folder.write("STATUS.json", to_json({"state": state, "reason": why}, indent=2) + "\n")


def _data(run: Run, model: Model, images: Mapping[str, int]) -> str:
    """What a run is trained on, in a line."""
    counts = [f"{number:,} {name}" for name, number in images.items()]
    shape = "x".join(map(str, model.image))
    return f"data {run.data.name}: {' + '.join(counts)} images of {shape}, {len(model.classes)} classes"


def open_record(run: Run) -> Record:
    """The record of this process: written by rank 0 alone."""
    return MainRecord(run) if rank() == 0 else Record(run)
