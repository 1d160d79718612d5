"""What a run says and leaves behind: run folder, progress and tracker, all on rank 0."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
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
from capsnet_dist.record.environment import environment
from capsnet_dist.record.folder import RunFolder, resumed_step
from capsnet_dist.record.pictures import Pictures
from capsnet_dist.record.plugins import kept
from capsnet_dist.record.reporter import Reporter
from capsnet_dist.record.results import Evaluation
from capsnet_dist.record.saver import Saver
from capsnet_dist.record.status import Status
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint, weights
from capsnet_dist.saved.checkpoint import Checkpoint
from capsnet_dist.saved.state import Wanted
from capsnet_dist.screen.console import tolerated
from capsnet_dist.screen.progress import Progress, progress, say
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
        self.status = Status(self.folder)
        self._progress: Progress | None = None
        self._tracker: Tracker | None = None
        self._saver: Saver | None = None
        self._pictures: Pictures | None = None
        self._reporter: Reporter | None = None
        self._steps = 0
        self._further: dict[str, Any] = {}

    @property
    @override
    def path(self) -> Path:
        return self.folder.path

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        refused = kind is not None and issubclass(kind, UserError) and self._progress is None
        with ExitStack() as last_first:
            last_first.callback(self.folder.close, remove=refused or self.run.dry_run)
            if self._tracker is not None:
                last_first.callback(tolerated("Warning: the tracker was not closed", say)(self._tracker.close))
            if self._progress is not None:
                last_first.callback(self.status.end, rest[0] if kind else None)
                leave = tolerated("Warning: the progress was not shown to its end", say)(self._progress.__exit__)
                last_first.callback(leave, kind, *rest)
            if self._saver is not None:
                last_first.callback(self._saver.close)

    @override
    def say(self, text: str) -> None:
        assert self._progress is not None
        self._progress.say(text)

    @override
    def start(
        self, model: Model, device: torch.device, num_steps: int, place: Mapping[str, Any], wanted: Wanted
    ) -> Checkpoint | None:
        run, path = self.run, self.path
        plugins = kept(run)
        imports = {"imports": plugins.entries} if plugins.entries else {}
        self._further = {"run": resumed.repeatable(run)} | imports
        described = weights.describe(model, run.model, model.fit) | self._further
        place = environment(device) | dict(place) | {"plugins": plugins.hashes}
        self._saver = Saver(self.folder, run.checkpoint.keep, device.type, self.say)
        config_text = weights.config_json(described)
        found = resumed.find(run, path / "checkpoints", wanted) if self.folder.is_resumed else None
        if found is not None:
            resumed.compare(run, place, found)
            if resumed_step(run) is not None:
                checkpoint.forget(path / "checkpoints", found.step)
        self.folder.cut_metrics(found.step if found else 0)
        kind, name = "none" if run.dry_run else run.tracker, path.resolve().name
        self._tracker = Tracker(kind, project="capsnet_dist", name=name, config=described, folder=path)
        self.status.begin(place)
        self.folder.keep(plugins.files)
        self.folder.write("config.json", config_text)
        first = self._steps = found.step if found else 0
        self._pictures = Pictures(path / "samples", first, num_steps, self._tracker.image, self._drawing)
        self._progress = progress(run.progress, num_steps, first, images_per_step=run.batch_size).__enter__()
        self._reporter = Reporter(self.folder, self._progress, self._tracker, model.classes)
        self.status.say("running")
        self._reporter.introduce(run, model, place, first)
        return found

    @override
    def minutes_since_checkpoint(self) -> float:
        assert self._saver is not None
        return self._saver.minutes_since_last

    @override
    def checkpoint(
        self, step: int, tensors: Callable[[], Mapping[str, Mapping[str, Tensor]]], state: Callable[[], dict[str, Any]]
    ) -> None:
        assert self._saver is not None
        if not self.run.dry_run:
            self._saver.save(
                step, tensors(), state() | {"run": resumed.repeatable(self.run), "environment": self.status.place}
            )
            self.status.touch()

    @override
    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        assert self._reporter is not None
        self._steps = step
        self._reporter.step(step, epoch, lr, metrics)

    @override
    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        assert self._reporter is not None
        self._reporter.evaluation(step, split, name, result)

    @override
    def reconstructions(self, step: int, model: Model, split: Split) -> None:
        assert self._pictures is not None
        self._pictures.evaluated(step, model, split)

    @override
    def interrupted(self, why: str, state: str) -> None:
        self.status.interrupt(why, state)
        self.say(f"Interrupted: {why}. To go on: --run-dir {self.path} --resume auto")

    @override
    def ended(self, why: str) -> None:
        self.status.ended = why
        self.say(f"{why}.")

    @override
    def keep(self, model: Model, source: str, *, is_done: bool) -> None:
        weights.save(model, self.path, **self._further)
        self._write_card(model, source, {}, is_done)
        self.status.is_done = is_done

    @override
    def finish(self, model: Model, source: str, results: Mapping[str, Evaluation], shown: Split) -> None:
        assert self._saver is not None and self._reporter is not None
        result = results.get("selected")
        self._write_card(model, source, results, self.status.is_done)
        if result is not None and not self.run.dry_run:
            self._reporter.advise(result)
        self._illustrate(model, result, shown)
        self._saver.wait()
        if self.status.interruption and self._saver.unsaved:
            raise UserError(f"Interrupted with {self._saver.unsaved}. Make room: --resume goes on from the one before.")
        self.say(f"{'Dry run: nothing kept in' if self.run.dry_run else 'Weights, metrics and samples:'} {self.path}")

    def _write_card(self, model: Model, source: str, results: Mapping[str, Evaluation], is_done: bool) -> None:
        """README.md, and what of the metrics found no room before: without both a run is not finished."""
        place = self.status.place
        source = f"{source}. {self.status.ended}" if self.status.ended else source
        made = Made(place["command"], place["images"], [*place["plugins"]])
        card = model_card(self.run, model, source, results, made, self.path, is_done=is_done)
        self.folder.write("README.md", card)
        self.folder.keep_metrics()

    def _illustrate(self, model: Model, result: Evaluation | None, shown: Split) -> None:
        assert self._pictures is not None and self._reporter is not None
        with tolerated(f"Warning: no pictures in {self.path / 'samples'}", say):
            lines = metrics_file.read(self.path / "metrics.jsonl")
            change = self._pictures.finished(self._steps, model, shown, lines, result)
            if change is not None:
                self._reporter.log(split="poses", pixel_change=change)

    def _drawing(self, file: Path) -> AbstractContextManager[None]:
        """The network, matplotlib, Pillow, fonts or the disk may fail."""
        return tolerated(f"Warning: no picture {file}", say)


def open_record(run: Run) -> Record:
    """The record of this process: written by rank 0 alone."""
    return MainRecord(run) if rank() == 0 else Record(run)
