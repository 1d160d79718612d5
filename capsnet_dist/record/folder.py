"""The run folder: what a training leaves behind."""

import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import Any

from capsnet_dist import files
from capsnet_dist.errors import UserError
from capsnet_dist.processes.lock import Lock
from capsnet_dist.record.metrics_file import cut
from capsnet_dist.run import Run
from capsnet_dist.text import reason, to_json


class RunFolder:
    """The folder of one run, written by one process alone: a new one, or one to go on with.

    Args:
        run: The configuration. run_dir must not exist, unless the run is to be resumed; without it the folder is
            runs/NAME/TIME, or TIME-2 and so on where another run has that.

    Raises:
        UserError: the folder exists, cannot be made or is in use.
    """

    def __init__(self, run: Run) -> None:
        named = resumed_path(run) or run.run_dir
        self.path = named or _default_path(run)
        self.is_resumed = run.resume is not None and (self.path / "config.json").exists()
        if run.resume not in (None, "auto") and not self.is_resumed:
            raise UserError(f"--resume {run.resume}: {self.path} is not the folder of a run.")
        is_new, parents = not self.path.exists(), [path for path in self.path.parents if not path.exists()]
        _refuse_links(self.path)
        try:
            if named is None:
                self.path = files.new_folder(self.path)
            else:
                self.path.mkdir(parents=True, exist_ok=run.resume is not None)
            self._made = [self.path, *parents] if is_new or named is None else []
            (self.path / "samples").mkdir(exist_ok=run.resume is not None)
            self._lock = Lock(self.path)
            self._metrics = self._open_metrics()
        except FileExistsError as error:
            raise UserError(
                f"--run-dir {self.path} exists already, and runs are never overwritten. --resume auto goes on with it."
            ) from error
        except OSError as error:
            raise UserError(f"The run folder {self.path} cannot be written: {reason(error)}.") from error
        self._unwritten = b""

    def log(self, **values: Any) -> None:
        """Add a line to metrics.jsonl.

        Raises:
            OSError: the disk is full or gone; the line is kept, and written before the next one.
        """
        self._unwritten += to_json(values).encode() + b"\n"
        self._write()

    def sync(self) -> None:
        """Wait until metrics.jsonl is on the disk, with all lines that found no room before.

        Raises:
            OSError: the disk is full or gone.
        """
        self._write()
        files.sync(self._metrics.fileno())

    def keep_metrics(self) -> None:
        """Like `sync`, for the last time: what is not on the disk now would be lost.

        Raises:
            UserError: metrics.jsonl has gone, or can no longer be written.
        """
        with self.writing():
            self.sync()
            os.stat(self.path / "metrics.jsonl")

    def cut_metrics(self, step: int) -> None:
        """Forget what was logged after a step, and what was said at the end: it comes again.

        Raises:
            UserError: a line to keep is damaged; the file is left as it was.
        """
        beside = cut(self.path / "metrics.jsonl", step)
        self._metrics.close()
        beside.replace(self.path / "metrics.jsonl")
        self._metrics = self._open_metrics()

    def write(self, name: str, text: str) -> None:
        """Write a text file, so that a reader sees the old one or the new one, never a part.

        Raises:
            UserError: the folder has gone, or can no longer be written.
        """
        beside = self.path / f".{name}.new"
        with self.writing():
            beside.write_text(text, encoding="utf-8", errors="backslashreplace")
            beside.replace(self.path / name)

    def keep(self, files: Mapping[str, bytes]) -> None:
        """Write files, each whole or not at all, by their paths in the folder.

        Raises:
            UserError: the folder has gone, or can no longer be written.
        """
        with self.writing():
            for name, content in files.items():
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                beside = (self.path / name).with_name(".new")
                beside.write_bytes(content)
                beside.replace(self.path / name)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Say it in one line if the folder can no longer be written."""
        try:
            yield
        except OSError as error:
            raise UserError(f"The run folder {self.path} can no longer be written: {reason(error)}.") from error

    def close(self, *, remove: bool) -> None:
        """Close the metrics; remove a new folder if nothing came of the run."""
        self._metrics.close()
        self._lock.close()
        if remove and self.path in self._made:
            shutil.rmtree(self.path, ignore_errors=True)
            with suppress(OSError):  # another run has begun there
                for parent in self._made[1:]:
                    parent.rmdir()

    def _write(self) -> None:
        while self._unwritten:
            self._unwritten = self._unwritten[self._metrics.write(self._unwritten) :]

    def _open_metrics(self) -> FileIO:
        return FileIO(self.path / "metrics.jsonl", "a")


def resumed_path(run: Run) -> Path | None:
    """The folder of the run that `--resume` names: itself, one of its checkpoints, or with "auto" the run's own."""
    if run.resume is None or run.resume == "auto":
        return None
    path = Path(run.resume)
    return path if resumed_step(run) is None else path.parents[1]


def resumed_step(run: Run) -> int | None:
    """The step of the checkpoint that `--resume` names; None where it names a folder, or "auto".

    Raises:
        UserError: it is not called as checkpoints are.
    """
    if run.resume is None or run.resume == "auto" or Path(run.resume).parent.name != "checkpoints":
        return None
    number = Path(run.resume).name.removeprefix("step-")
    if not number.isdecimal() or Path(run.resume).name != f"step-{int(number):08d}":
        raise UserError(f"--resume {run.resume}: checkpoints are called as step-00000200.")
    return int(number)


def _default_path(run: Run) -> Path:
    """runs/NAME/TIME.

    Raises:
        UserError: NAME would lead elsewhere.
    """
    if not run.name.isprintable() or run.name in ("", ".", "..") or set(run.name) & set("/\\"):
        raise UserError(
            f"--name {run.name!r} names the folder runs/NAME: it must be printable, without / and \\, and not . or .. "
            "(or give --run-dir)."
        )
    return Path("runs") / run.name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _refuse_links(folder: Path) -> None:
    """Refuse links and pipes where files will be written: they would land, or wait, elsewhere."""
    found = [path for place in (folder, folder / "samples", folder / "checkpoints") for path in place.glob("*")]
    for path in [*found, *(folder / "plugins").rglob("*")]:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise UserError(f"{path} is a link or no ordinary file, where a run would write: remove it first.")
