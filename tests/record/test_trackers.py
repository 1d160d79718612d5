import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import numpy as np
import pytest
from accelerate import PartialState
from conftest import run_ranks
from PIL import Image

from capsnet_dist.errors import UserError
from capsnet_dist.record import trackers
from capsnet_dist.record.trackers import Tracker

pytestmark = pytest.mark.pictures

CONFIG = {"lr": 0.5, "model": {"routing": "dynamic", "kernels": [9, 5], "bias": None}}


@pytest.fixture(autouse=True)
def _accelerate_knows_its_state():
    before = dict(PartialState._shared_state)
    PartialState()
    yield
    PartialState._shared_state.clear()
    PartialState._shared_state.update(before)


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(monkeypatch, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


class Fake:
    """A tracker that does as it is told in start, log and finish."""

    def __init__(self, **behaviour):
        self.behaviour, self.steps, self.finished = behaviour, [], False

    def do(self, verb):
        self.behaviour.get(verb, lambda: None)()

    def start(self, *_):
        self.do("start")
        return self

    def log(self, values, step):
        self.do("log")
        self.steps.append(step)

    def finish(self):
        self.do("finish")
        self.finished = True


@pytest.fixture
def track(monkeypatch, tmp_path):
    """A Tracker over a Fake, with half a second to close."""

    def track(**behaviour):
        fake = Fake(**behaviour)
        monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.5)
        monkeypatch.setattr(trackers, "_tensorboard", fake.start)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin="here"))
        return Tracker("tensorboard", project="p", name="n", config={}, folder=tmp_path), fake

    return track


def fail():
    raise RuntimeError("the server\nis on fire")


def leave():
    sys.exit("so said a library")


def hang():
    threading.Event().wait(5)  # ten times as long as a tracker is waited for: enough to fail, and no more


@pytest.mark.parametrize("behaviour", [fail, leave, hang])
@pytest.mark.parametrize(("verb", "lost"), [("start", 3), ("log", 3), ("finish", 0)])
def test_whatever_a_tracker_does_training_neither_waits_nor_fails(track, capsys, verb, lost, behaviour):
    began = time.monotonic()
    tracker, _ = track(**{verb: behaviour})
    for step in range(3):
        tracker.log({"loss": 1.0}, step)
    assert time.monotonic() - began < 0.2
    tracker.close()
    tracker.log({"loss": 1.0}, 4)
    tracker.close()
    assert time.monotonic() - began < 1.2
    said = capsys.readouterr().err.splitlines()
    if behaviour is hang:
        assert said == ["Warning: tensorboard did not finish within 0.5 s and is left behind."]
    else:
        assert said[0].startswith(f"Warning: tensorboard could not {verb}: ")
        assert said[0].endswith("Training goes on.")
        assert said[1:] == ([f"Warning: {lost} of 3 records did not reach tensorboard."] if lost else [])


def test_an_error_is_said_once_and_what_follows_is_still_sent(track, capsys):
    answers = iter([fail, fail, lambda: None])
    tracker, fake = track(log=lambda: next(answers)())
    for step in range(3):
        tracker.log({"loss": 1.0}, step)
    tracker.close()
    assert fake.steps == [2]
    assert fake.finished
    assert capsys.readouterr().err == (
        "Warning: tensorboard could not log: RuntimeError: the server is on fire. Training goes on.\n"
        "Warning: 2 of 3 records did not reach tensorboard.\n"
    )


def test_a_full_queue_drops_and_counts(track, monkeypatch, capsys):
    monkeypatch.setattr(trackers, "QUEUE_LENGTH", 2)
    ready = threading.Event()
    tracker, fake = track(start=ready.wait)
    for step in range(5):
        tracker.log({"loss": 1.0}, step)
    ready.set()
    tracker.close()
    assert fake.steps == [0, 1]
    assert "3 of 5 records" in capsys.readouterr().err


def test_steps_only_go_forward(track):
    tracker, fake = track()
    for step in (3, 5, 4, 5, 6):
        tracker.log({"loss": 1.0}, step)
    tracker.close()
    assert fake.steps == [3, 5, 5, 6]


@pytest.mark.parametrize("spec", [None, ModuleSpec("wandb", None)], ids=["nothing", "a folder wandb/ left by a run"])
def test_a_missing_package_is_a_mistake_told_at_once(monkeypatch, tmp_path, spec):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"'wandb' is not installed: pip install 'capsnet_dist\[wandb\]'"):
        Tracker("wandb", project="p", name="n", config={}, folder=tmp_path)


def fake_wandb(monkeypatch, init):
    module = SimpleNamespace(Settings=lambda **_: SimpleNamespace(base_url="https://api.example.org"), init=init)
    monkeypatch.setitem(sys.modules, "wandb", module)


@pytest.mark.parametrize(
    ("variables", "netrc", "mode"),
    [
        ({}, "", "offline"),
        ({"WANDB_MODE": "online"}, "", "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, "", "disabled"),
        ({"WANDB_API_KEY": "k"}, "", "online"),
        ({}, "machine api.example.org login user password k", "online"),
        ({}, "machine elsewhere.org login user password k", "offline"),
        ({"WANDB_BASE_URL": "http://elsewhere.org"}, "machine elsewhere.org login user password k", "online"),
        ({}, "not a netrc", "offline"),
    ],
)
def test_wandb_is_online_only_with_a_key(monkeypatch, tmp_path, variables, netrc, mode):
    fake_wandb(monkeypatch, None)
    (tmp_path / "netrc").write_text(netrc)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert trackers._mode() == mode


def test_a_run_that_cannot_be_online_is_kept_offline(monkeypatch, tmp_path, capsys):
    def init(project, mode, dir, **_):
        if mode == "online":
            raise ConnectionError("no route")
        return SimpleNamespace(offline=True, disabled=False, dir=f"{dir}/wandb/offline-run-1/files")

    fake_wandb(monkeypatch, init)
    monkeypatch.setenv("WANDB_API_KEY", "k")
    tracker = trackers._wandb("p", "n", {}, tmp_path)
    assert tracker.tracker.offline
    assert capsys.readouterr().err == (
        "W&B is not reached (ConnectionError: no route): the run is kept offline.\n"
        f"W&B is offline; to upload later: wandb sync {tmp_path}/wandb/offline-run-1\n"
    )


def send_a_training(kind, folder):
    """Ten steps and a picture, red above blue."""
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:2, :, 0] = picture[2:, :, 2] = 255
    Image.fromarray(picture).save(folder / "picture.png")
    tracker = Tracker(kind, project="capsules", name="first", config=CONFIG, folder=folder)
    for step in range(1, 11):
        tracker.log({"train/loss": 1 / step, "train/accuracy": 0.5}, step)
    tracker.image("samples", folder / "picture.png", 10)
    tracker.close()
    return picture


def records(file):
    """The records of a .wandb file: protobuf messages in LevelDB's log format, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, parts = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a header: the block ends in zeros
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or last part
            yield Record.FromString(parts)
            parts = b""


def values(items):
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def sent_to_wandb(folder):
    """In a process of its own: its threads would be there in all that later tests fork."""
    import wandb

    PartialState(cpu=True)
    picture = send_a_training("wandb", folder)
    wandb.teardown()
    return picture


def test_wandb_offline_records_metrics_configuration_and_pictures(tmp_path, capfd):
    pytest.importorskip("wandb")
    picture = run_ranks(1, sent_to_wandb, tmp_path)
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert capfd.readouterr().err == f"W&B is offline; to upload later: wandb sync {folder}\n"
    (file,) = folder.glob("*.wandb")
    found = list(records(file))
    (run,) = (record.run for record in found if record.HasField("run"))
    assert (run.project, run.display_name) == ("capsules", "first")
    config = values(run.config.update)
    assert {name: config[name] for name in CONFIG} == CONFIG
    rows = [values(record.history.item) for record in found if record.HasField("history")]
    assert [(row["_step"], row["train/loss"]) for row in rows] == [(step, 1 / step) for step in range(1, 11)]
    (sample,) = rows[-1]["samples.filenames"]
    assert (np.asarray(Image.open(folder / "files" / sample)) == picture).all()


def test_tensorboard_records_metrics_configuration_and_pictures(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    picture = send_a_training("tensorboard", tmp_path)
    assert capsys.readouterr().err == ""
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(1, 11))
    assert events.Scalars("train/loss")[-1].value == pytest.approx(0.1)
    (sample,) = events.Images("samples")
    (tmp_path / "seen.png").write_bytes(sample.encoded_image_string)
    assert (np.asarray(Image.open(tmp_path / "seen.png")) == picture).all()
    (hyperparameters,) = (tmp_path / "tensorboard").glob("*/hparams.yml")
    assert "model.routing: dynamic" in hyperparameters.read_text()
    assert "model.kernels: '[9, 5]'" in hyperparameters.read_text()


HANG = """
import importlib.machinery, os, signal, sys, threading, time, types
from pathlib import Path
import psutil
from accelerate import PartialState
from capsnet_dist.record import trackers

PartialState(cpu=True)
trackers.CLOSE_SECONDS = 0.5
settings = dict(project="p", name="n", config={}, folder=Path("."))
trackers.Tracker("none", **settings).log({"loss": 1.0}, 1)
assert not {"wandb", "tensorboard"} & set(sys.modules)

def services():
    return [child for child in psutil.Process().children() if child.name().startswith("wandb-core")]

if sys.argv[1] == "library":
    wandb = types.ModuleType("wandb")
    wandb.__spec__ = importlib.machinery.ModuleSpec("wandb", None, origin="here")
    wandb.Settings = types.SimpleNamespace
    wandb.init = lambda **_: types.SimpleNamespace(
        offline=True, disabled=False, dir="wandb/run/files", log=lambda *_, **__: None, finish=threading.Event().wait
    )
    sys.modules["wandb"] = wandb
tracker = trackers.Tracker("wandb", **settings)
tracker.log({"loss": 1.0}, 1)
while sys.argv[1] != "library" and not (services() and tracker._sent):
    time.sleep(0.05)
for service in services():
    os.kill(service.pid, signal.SIGSTOP)
tracker.close()
print(time.time())
sys.exit(3)
"""


@pytest.mark.parametrize("who", ["library", "service"])
def test_a_hanging_tracker_neither_delays_the_exit_nor_changes_its_code(tmp_path, who):
    if who != "library":
        pytest.importorskip("wandb")
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", HANG, who], **how) as process:
        try:
            out, said = process.communicate(timeout=60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # W&B's process, too, which holds our pipes
    exited = time.time()
    assert process.returncode == 3, said
    assert exited - float(out) < 20  # without the mend it hangs for ever
    assert "Traceback" not in said
    assert said.count("wandb did not finish within 0.5 s and is left behind") == 1
