"""How a run stands, and where it ran: STATUS.json and environment.json."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from capsnet_dist.errors import UserError
from capsnet_dist.record.environment import now
from capsnet_dist.record.folder import RunFolder
from capsnet_dist.text import to_json


class Status:
    """Says in STATUS.json how the run stands and how it ended, since launchers turn every exit code into 1.

    Args:
        folder: The run folder.
    """

    interruption = ""
    """Why the training was interrupted, if it was."""
    ended = ""
    """Why it ended before its last step by itself, if it did."""
    is_done = False
    """Whether all steps are done and the weights are saved."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.place: dict[str, Any] = {}  # what environment.json says
        self._unfinished = "preempted"

    def begin(self, place: Mapping[str, Any]) -> None:
        """Write where the run is, before its first step."""
        self.place = dict(place)
        self._write("environment.json", self.place)

    def interrupt(self, why: str, state: str) -> None:
        """The training ends before its time, and will have been "preempted" or "stopped"."""
        self.interruption, self._unfinished, self.is_done = why, state, False

    def touch(self) -> None:
        """Write until when the run has been seen at work: times of files do not outlive a copy.

        A full disk ends no run.
        """
        with suppress(UserError):
            self._write("environment.json", self.place | {"until": now()})

    def end(self, error: BaseException | None) -> None:
        """Write how the run ended: done, preempted, stopped or failed."""
        why = self.interruption or self.ended if error is None else f"{type(error).__name__}: {error}"
        with suppress(UserError):  # where the folder has gone, that was said
            self.say("done" if self.is_done else "failed" if error is not None else self._unfinished, why)
            self.touch()

    def say(self, state: str, why: str = "") -> None:
        """Write STATUS.json.

        Raises:
            UserError: the folder has gone, or can no longer be written.
        """
        self._write("STATUS.json", {"state": state, "reason": why})

    def _write(self, name: str, values: Mapping[str, Any]) -> None:
        self._folder.write(name, to_json(values, indent=2) + "\n")
