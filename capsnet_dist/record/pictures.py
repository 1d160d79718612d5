"""The pictures that a run leaves in `samples/` and sends to its tracker."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from capsnet_dist.analysis.gallery import FIGURES, pose_effects
from capsnet_dist.analysis.subject import NotShown, Subject
from capsnet_dist.figures.canvas import theme
from capsnet_dist.plugins import Model, Split
from capsnet_dist.record.results import Evaluation

MOST = 100
"""Evaluations in a run of which there are pictures."""
SHARE = 0.05
"""Of the time, that pictures may take in the course of a run: of fewer evaluations where they would take more."""
LAST = ("curves", "confusion", "poses", "lengths")
"""What is drawn in the end."""


class Pictures:
    """Draws what a run shows of its network.

    Args:
        folder: Where the pictures go.
        first: Steps that were taken before, by a run that is resumed.
        num_steps: Steps of the whole run.
        send: Sends a picture on: its title, file and step.
        guard: Around all that may fail in drawing a file.
    """

    def __init__(
        self,
        folder: Path,
        first: int,
        num_steps: int,
        send: Callable[[str, Path, int], object],
        guard: Callable[[Path], Any],
    ) -> None:
        self._folder, self._num_steps, self._send, self._guard = folder, num_steps, send, guard
        self._drawn, self._seconds, self._start = first, 0.0, time.monotonic()

    def evaluated(self, step: int, model: Model, shown: Split) -> None:
        """Reconstructions after so many steps, if it is time for some."""
        if self._is_due(step):
            name = "reconstructions" if shown.labels.ndim == 1 else "overlaps"
            self._draw(name, f"{step:07d}.png", Subject(model, shown.pixels, shown.labels), step)
            self._drawn = step

    def finished(
        self, step: int, model: Model, shown: Split, lines: Sequence[dict[str, Any]], result: Evaluation | None
    ) -> float | None:
        """All that is drawn in the end, of the weights that are kept.

        Returns:
            How much a pixel changes over the range of a number of a pose, on average; None without a decoder.
        """
        subject = Subject(model, shown.pixels, shown.labels)
        subject.lines = {"run": [lines]}
        subject.counts = None if result is None else result.confusion
        for name in LAST:
            if name != "confusion" or result is not None:
                self._draw(name, f"{name}.png", subject, step)
        with self._guard(self._folder / "poses.png"):
            return _effect(subject)
        return None

    def _is_due(self, step: int) -> bool:
        """Whether a further hundredth of the run is over, and drawing took no more of its time than it may."""
        if step >= self._num_steps:
            return True
        is_further = step * MOST // self._num_steps > self._drawn * MOST // self._num_steps
        return is_further and self._seconds <= SHARE * (time.monotonic() - self._start)

    def _draw(self, name: str, file: str, subject: Subject, step: int) -> None:
        begin = time.monotonic()
        with self._guard(self._folder / file), _nothing_to_show(), theme("light"):
            FIGURES[name](subject).savefig(self._folder / file)
            self._send(name, self._folder / file, step)
        self._seconds += time.monotonic() - begin


def _effect(subject: Subject) -> float | None:
    with _nothing_to_show():
        return float(pose_effects(subject).mean())
    return None


@contextmanager
def _nothing_to_show() -> Generator[None]:
    """Leave a figure out for which this network has nothing."""
    try:
        yield
    except NotShown:
        return
