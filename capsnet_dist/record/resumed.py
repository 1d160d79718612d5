"""Resuming a run in its folder: what is found there, and what has changed since."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capsnet_dist import config
from capsnet_dist.errors import UserError
from capsnet_dist.record.folder import resumed_step
from capsnet_dist.run import Run
from capsnet_dist.saved import checkpoint
from capsnet_dist.saved.checkpoint import Checkpoint
from capsnet_dist.saved.state import Wanted
from capsnet_dist.screen.progress import say

OF_THE_OCCASION = {"run_dir", "dry_run", "resume", "strict_resume", "max_time", "progress", "command", "started"}
"""What may differ when a run is repeated or resumed."""


def find(run: Run, folder: Path, wanted: Wanted) -> Checkpoint | None:
    """The checkpoint that the run names, or else the newest good one.

    Args:
        run: The configuration.
        folder: Holds the checkpoints.
        wanted: The tensors that the training needs.

    Raises:
        UserError: the one that is named is not there, damaged, or does not fit; or none does of all that are there.
    """
    step = resumed_step(run)
    return checkpoint.newest(folder, say, wanted) if step is None else checkpoint.load(folder, step, wanted)


def compare(run: Run, place: Mapping[str, Any], found: Checkpoint) -> None:
    """Say what is not as it was, since the run will not go on bit for bit.

    Args:
        run: The configuration now.
        place: The environment now.
        found: The checkpoint, which knows those of before.

    Raises:
        UserError: something is, and the run is to be resumed strictly.
    """
    now = {"run": repeatable(run), "environment": place, "source": place.get("plugins", {})}
    before = {kind: found.state.get(kind, {}) for kind in now}
    unknown = {"pixels", "images"} - before["environment"].keys()  # older checkpoints do not tell
    before["source"] = before["environment"].get("plugins", now["source"])
    before["run"] = _defaults() | before["run"]  # nor of options that came later, which then had no effect
    changes = [
        f"{kind}.{key}: {before[kind].get(key)!r} before, {value!r} now"
        for kind, values in now.items()
        for key, value in values.items()
        if key not in OF_THE_OCCASION | unknown | {"plugins"} and before[kind].get(key) != value
    ]
    if changes and run.strict_resume:
        raise UserError(f"--strict-resume: {'; '.join(changes)}.")
    for change in changes:
        say(f"Warning: the run goes on with other values than before: {change}.")


def _defaults() -> dict[str, Any]:
    """What options are that nobody gave, as far as they have a default."""
    given = [
        (field.name, field.default) for field in dataclasses.fields(Run) if field.default is not dataclasses.MISSING
    ]
    return {name: config.to_dict(value) for name, value in given}


def repeatable(run: Run) -> dict[str, Any]:
    """The run without what belongs to this one occasion."""
    values: dict[str, Any] = config.to_dict(run)
    return {key: value for key, value in values.items() if key not in OF_THE_OCCASION}
