"""What a run measures while it trains, as lines of metrics.jsonl, on the screen and for the tracker."""

from collections.abc import Mapping, Sequence
from typing import Any

from capsnet_dist.plugins import Model
from capsnet_dist.record.folder import RunFolder
from capsnet_dist.record.remarks import advice, class_rates, remarks
from capsnet_dist.record.results import Evaluation
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.run import Run
from capsnet_dist.screen.progress import Progress
from capsnet_dist.text import reason


class Reporter:
    """Tells of steps and evaluations, everywhere where that is followed.

    Args:
        folder: The run folder.
        progress: Shows the steps.
        tracker: Sends the metrics.
        classes: Their names.
    """

    def __init__(self, folder: RunFolder, progress: Progress, tracker: Tracker, classes: Sequence[str]) -> None:
        self._folder, self._progress, self._tracker, self._classes = folder, progress, tracker, classes
        self._accuracy, self._weight = 0.0, 0.0
        self._is_full = False

    def introduce(self, run: Run, model: Model, place: Mapping[str, Any], first: int) -> None:
        """What is trained, on what and where, and after which step a run goes on."""
        counts = [f"{number:,} {name}" for name, number in place["images"].items()]
        images = f"images of {'x'.join(map(str, model.image))}, {len(model.classes)} classes"
        self._progress.say(f"data {run.data.name}: {' + '.join(counts)} {images}")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        where = f"{place['processes']} process(es) on {place['device']}"
        start = f", going on after step {first}" if first else ""
        self._progress.say(f"{run.name}: {parameters:,} parameters, {where}{start}")
        if place["device"].startswith("cpu") and place["kernels"]["routing"] == "PyTorch":
            self._progress.say("Slower than it could be, without llvmlite: pip install 'capsnet_dist[fast]'")

    def step(self, step: int, epoch: float, lr: float, metrics: Mapping[str, float]) -> None:
        """The metrics of a step."""
        self._accuracy += 0.1 * (metrics["accuracy"] - self._accuracy)
        self._weight += 0.1 * (1 - self._weight)  # of the steps so far: the average starts from nothing
        self.log(step=step, epoch=epoch, split="train", lr=lr, **metrics)
        self._progress.step(step, metrics)
        self._tracker.log({f"train/{name}": value for name, value in metrics.items()} | {"train/lr": lr}, step)

    def evaluation(self, step: int, split: str, name: str, result: Evaluation) -> None:
        """What the weights called `name` achieve on a split after so many steps."""
        values = {**result.rates, "loss": result.loss, **result.terms}
        self.log(step=step, split=split, weights=name, **values)
        values |= class_rates(result, self._classes)
        self._tracker.log({f"{split}/{name}/{key}": value for key, value in values.items()}, step)
        accuracy = f"{split} accuracy of the {name} weights {100 * result.accuracy:.2f} %"
        self._progress.say(f"step {step}  {accuracy}  loss {result.loss:.4f}")

    def advise(self, result: Evaluation) -> None:
        """What stands out in the classes, and what to try where nothing was learned."""
        for remark in remarks(result, self._classes):
            self._progress.say(f"Test images: {remark}")
        if self._weight and (advised := advice(result, self._accuracy / self._weight)):
            self._progress.say(advised)

    def log(self, **values: Any) -> None:
        """Add a line to the metrics; a full disk is said once, and the line written when there is room again."""
        try:
            self._folder.log(**values)
            self._is_full = False
        except OSError as error:
            if not self._is_full:
                file = self._folder.path / "metrics.jsonl"
                self._progress.say(f"Warning: {file} cannot be written for now: {reason(error)}.")
            self._is_full = True
