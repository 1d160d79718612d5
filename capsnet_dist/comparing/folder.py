"""The folder of a comparison: a new one or one to continue in, written by one comparison at a time."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from capsnet_dist.errors import UserError
from capsnet_dist.files import new_folder
from capsnet_dist.processes.lock import InUse, Lock
from capsnet_dist.screen.console import say
from capsnet_dist.text import reason

LOOK = 1.0
"""Seconds between two looks whether a run has ended."""


def made(folder: Path | None, resume: bool) -> Path:
    """The folder, which must not exist unless the comparison is continued; a new one if none is named.

    Raises:
        UserError: it exists, or cannot be made.
    """
    if resume and folder is None:
        raise UserError("--resume goes on in --folder FOLDER: name it.")
    try:
        if folder is None:
            return new_folder(Path("comparison"))
        folder.mkdir(parents=True, exist_ok=resume)
        return folder
    except OSError as error:
        mend = (
            "Choose another folder, or go on in it with --resume"
            if folder is not None and os.path.isdir(folder)
            else "Choose another folder"
        )
        raise UserError(f"{folder} cannot be made: {reason(error)}. {mend}.") from error


def taken(folder: Path, look: Callable[[], object]) -> Lock:
    """The lock of the folder; a run that has outlived the comparison that started it is waited for.

    Args:
        folder: That of the comparison.
        look: Called at each look whether that run has ended; may raise.

    Raises:
        UserError: another comparison is at work in the folder.
    """
    is_told = False
    while True:
        try:
            return Lock(folder)
        except InUse as error:
            if not error.is_orphaned:
                raise
        if not is_told:
            say(f"a run of the comparison in {folder} that was killed still goes on: waiting for its end")
            is_told = True
        look()
        time.sleep(LOOK)
