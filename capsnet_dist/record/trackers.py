"""Weights & Biases and TensorBoard through Accelerate's trackers, in a thread of their own: they cannot stop a run."""

import importlib.util
import netrc
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import numpy as np
import psutil
from accelerate.tracking import TensorBoardTracker, WandBTracker
from PIL import Image

from capsnet_dist.errors import UserError
from capsnet_dist.screen.progress import say
from capsnet_dist.text import printable, reason

Kind = Literal["none", "wandb", "tensorboard"]
QUEUE_LENGTH = 10_000  # records: some ten megabytes, and minutes of training while a tracker starts
INIT_SECONDS = 20  # W&B adds some ten of its own; its default of 90 would lose the first records of a fast run
CLOSE_SECONDS = 30.0


class Tracker:
    """Sends metrics and images to a tracker without ever waiting for it or failing with it; for rank 0.

    A daemon thread imports, starts, feeds and finishes the tracker. Its first error is said once; what it cannot take
    is dropped and counted. Accelerate's state must exist before.

    Args:
        kind: "none" does nothing and imports nothing. "wandb" is online if there is an API key and the server answers,
            else offline. `WANDB_MODE` overrules that.
        project: Project in W&B.
        name: Name of the run in W&B.
        config: What to record about the run; values are scalars, lists and nested dicts.
        folder: The tracker writes to `wandb/` or `tensorboard/` in it.

    Raises:
        UserError: the tracker's package is not installed.
    """

    def __init__(self, kind: Kind, *, project: str, name: str, config: dict[str, Any], folder: Path) -> None:
        self.kind = kind
        self._step, self._offered, self._sent, self._warned = 0, 0, 0, False
        self._grace = CLOSE_SECONDS
        self._jobs: queue.Queue[Callable[[Any], None] | None] = queue.Queue(QUEUE_LENGTH)
        if kind == "none":
            return
        spec = importlib.util.find_spec(kind)
        if spec is None or spec.origin is None:  # a folder of that name, such as W&B leaves, is no package
            raise UserError(f"The tracker {kind!r} is not installed: pip install 'capsnet_dist[{kind}]'.")
        start = _tensorboard if kind == "tensorboard" else _wandb
        opened = partial(start, project, printable(name), _printable(config), folder)
        self._worker = threading.Thread(target=self._work, args=(opened,), name=f"{kind} tracker", daemon=True)
        self._worker.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send metrics of a step; those of a step before the last one sent are dropped: W&B only goes forward."""
        values = dict(values)
        self._send(lambda tracker: tracker.log(values, step=step), step)

    def image(self, title: str, file: Path, step: int) -> None:
        """Send a picture, which the thread reads from `file`."""

        def send(tracker: WandBTracker | TensorBoardTracker) -> None:
            with Image.open(file) as opened:
                picture = opened.convert("RGB")
            if isinstance(tracker, TensorBoardTracker):
                tracker.log_images({title: np.asarray(picture)[None]}, step=step, dataformats="NHWC")
            else:
                tracker.log_images({title: [picture]}, step=step)

        self._send(send, step)

    def close(self) -> None:
        """Wait until all is sent and the tracker has finished, at most 30 s, then leave it behind."""
        if self.kind == "none":
            return
        deadline = time.monotonic() + CLOSE_SECONDS
        with suppress(queue.Full):
            self._jobs.put(None, timeout=CLOSE_SECONDS)
        self._worker.join(max(0.0, deadline - time.monotonic()))
        if self._worker.is_alive():
            self._warned = True  # what it says from here on is of no use
            say(f"Warning: {self.kind} did not finish within {CLOSE_SECONDS:g} s and is left behind.")
            self._grace = 0.5  # W&B can say goodbye to its process before that is ended
        elif lost := self._offered - self._sent:
            say(f"Warning: {lost} of {self._offered} records did not reach {self.kind}.")
        self.kind = "none"

    def _send(self, job: Callable[[Any], None], step: int) -> None:
        if self.kind == "none":
            return
        self._offered += 1
        if step >= self._step:
            self._step = step
            with suppress(queue.Full):
                self._jobs.put_nowait(job)

    def _work(self, start: Callable[[], Any]) -> None:
        """The thread: start, send until there is a None, finish."""
        tracker = None
        if self.kind == "wandb":
            threading.Thread(target=self._bound_exit, daemon=True).start()
        with self._warning("start"):
            tracker = start()
        for job in iter(self._jobs.get, None):
            if tracker is not None:
                with self._warning("log"):
                    job(tracker)
                    self._sent += 1
        if tracker is not None:
            with self._warning("finish"):
                tracker.finish()

    def _bound_exit(self) -> None:
        """End W&B's own process when it delays the exit: W&B would wait without limit. Its records lie on the disk."""
        threading.main_thread().join()
        time.sleep(self._grace)
        with suppress(psutil.Error, OSError):  # they may be hidden
            for child in psutil.Process().children():
                if child.name().startswith("wandb-core"):
                    child.kill()

    @contextmanager
    def _warning(self, verb: str) -> Generator[None]:
        try:
            yield
        except BaseException as error:  # libraries call sys.exit, too; this thread must go on to empty the queue
            if not self._warned:
                say(f"Warning: {self.kind} could not {verb}: {reason(error)}. Training goes on.")
            self._warned = True


def _printable(config: Any) -> Any:
    """A configuration whose texts every server takes."""
    if isinstance(config, Mapping):
        return {name: _printable(value) for name, value in cast(Mapping[str, Any], config).items()}
    if isinstance(config, list):
        return [_printable(value) for value in cast(list[Any], config)]
    return printable(config) if isinstance(config, str) else config


def _tensorboard(project: str, name: str, config: dict[str, Any], folder: Path) -> TensorBoardTracker:
    tracker = TensorBoardTracker("tensorboard", folder)
    tracker.main_process_only = False  # else it asks Accelerate at each call which rank it is: 0, we know
    tracker.start()
    tracker.store_init_configuration(dict(_scalars(config)))
    return tracker


def _scalars(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, bool | int | float | str]]:
    """Nested values under dotted names; TensorBoard takes nothing else."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if isinstance(value, bool | int | float | str) else str(value)


def _wandb(project: str, name: str, config: dict[str, Any], folder: Path, mode: str = "") -> WandBTracker:
    """A run of W&B; offline if it cannot be had online."""
    import wandb

    folder.mkdir(parents=True, exist_ok=True)  # else W&B writes to a temporary folder
    mode = mode or _mode()
    settings = wandb.Settings(
        console="off",  # it would take hold of standard error, where the bar is drawn
        silent=True,
        reinit="create_new",  # a run that the caller has open is not ours
        init_timeout=INIT_SECONDS,
        login_timeout=5,  # should it ask for a key on the terminal in spite of _has_key
    )
    tracker = WandBTracker(project, name=name, config=config, dir=str(folder), mode=mode, settings=settings)
    try:
        tracker.start()
    except Exception as error:
        if mode != "online":
            raise
        say(f"W&B is not reached ({reason(error)}): the run is kept offline.")
        return _wandb(project, name, config, folder, "offline")
    run = tracker.tracker
    if run.offline and not run.disabled:
        say(f"W&B is offline; to upload later: wandb sync {Path(run.dir).parent}")
    elif run.url:
        say(f"W&B: {run.url}")
    return tracker


def _mode() -> str:
    """The mode of W&B that the user named, else online where there is a key."""
    mode = os.environ.get("WANDB_MODE") or "online"
    return "offline" if mode == "online" and not _has_key() else mode


def _has_key() -> bool:
    """Whether W&B would find an API key, for which it would ask on the terminal otherwise."""
    import wandb

    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        known = netrc.netrc(os.path.expanduser(os.environ.get("NETRC", "~/.netrc")))
    except (OSError, netrc.NetrcParseError):
        return False
    server = os.environ.get("WANDB_BASE_URL") or wandb.Settings().base_url
    return any(known.authenticators(host) for host in (urlsplit(server).netloc, "api.wandb.ai"))
