"""A killed run goes on bit for bit; whatever is damaged is named and passed over."""

import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import run_ranks, start_ranks
from safetensors.torch import load_file
from test_train import RECIPES, RUN

from capsnet_dist import UserError, losses, models, optimizers
from capsnet_dist.kernels import fast_paths
from capsnet_dist.record import saver
from capsnet_dist.record.folder import RunFolder
from capsnet_dist.record.status import Status
from capsnet_dist.run import Checkpoints
from capsnet_dist.saved import checkpoint
from capsnet_dist.train import train
from capsnet_dist.training import evaluation as evaluating
from capsnet_dist.training.objective import step_if_finite
from capsnet_dist.training.stepper import Stepper
from capsnet_dist.training.timetable import Timetable

RUN = replace(RUN, steps=12, checkpoint=Checkpoints(every=4, keep=2), resume="auto", validation=0.2, evaluate_every=1)


def history(folder):
    """What every step logged, and the weights that are left; their metadata are written in any order."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    data = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return lines, (json.loads(data[8:end]), data[end:])


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """The folder of the run left alone, by number of processes and accumulation."""
    known = {}

    def run(world, accumulation=1):
        if (world, accumulation) not in known:
            folder = tmp_path_factory.mktemp("alone") / "run"
            run_ranks(world, train, replace(RUN, run_dir=folder, accumulation=accumulation))
            known[world, accumulation] = folder
        return known[world, accumulation]

    return run


@pytest.fixture(scope="module")
def undisturbed(left_alone):
    """The history of the run left alone, by number of processes and accumulation."""
    return lambda *how: history(left_alone(*how))


@pytest.fixture
def finished(left_alone):
    """The folder `run` of a run that is done, a copy for each test."""
    return Path(shutil.copytree(left_alone(1), "run"))


def train_until(run, last, number, ranks=(0, 1, 2, 3)):
    """Train, and send a signal to ranks in the middle of a step."""
    original = Stepper._micro_batch

    def kill(self, given, micro, progress):
        if given.step == last and self.accelerator.process_index in ranks:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
        return original(self, given, micro, progress)

    Stepper._micro_batch = kill
    train(run)


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (1, 2), (2, 1), (3, 1), (4, 1)])
def test_a_killed_run_goes_on_bit_for_bit(world, accumulation, undisturbed):
    run = replace(RUN, run_dir=Path("run"), accumulation=accumulation, batch_size=36 if world == 3 else 32)
    alone = undisturbed(world, accumulation) if world != 3 else None
    if alone is None:
        run_ranks(world, train, replace(run, run_dir=Path("alone")))
        alone = history(Path("alone"))
    for last in (6, 9) if world < 3 else (6,):  # after the checkpoints of steps 4 and 8
        for process in start_ranks(world, train_until, run, last, signal.SIGKILL):
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
    run_ranks(world, train, run)
    assert history(Path("run")) == alone


def test_a_killed_run_of_a_network_that_draws_random_numbers_goes_on_bit_for_bit():
    model = models("cnn", channels=(4,), kernels=(3,), hidden=(8,), dropout=0.5)
    run = replace(RUN, model=model, regularizer=losses("none"), run_dir=Path("run"))
    (process,) = start_ranks(1, train_until, run, 6, signal.SIGKILL)
    process.join(60)
    run_ranks(1, train, run)
    run_ranks(1, train, replace(run, run_dir=Path("alone")))
    assert history(Path("run")) == history(Path("alone"))


def best_early(run, last=None):
    """Evaluate every third step, and unlearn from the seventh on: the weights of the sixth are the best."""
    Timetable.is_evaluation_due = lambda self, step: step % 3 == 2
    Timetable.learning_rate = lambda self, step: 0.02 if step < 6 else 1.0
    train(run) if last is None else train_until(run, last, signal.SIGKILL)


def test_the_best_weights_before_a_kill_are_not_forgotten():
    run_ranks(1, best_early, replace(RUN, run_dir=Path("alone")))
    assert "weights of step 6" in Path("alone/README.md").read_text()
    (process,) = start_ranks(1, best_early, replace(RUN, run_dir=Path("run")), 9)
    process.join(60)
    run_ranks(1, best_early, replace(RUN, run_dir=Path("run")))
    assert history(Path("run")) == history(Path("alone"))


@pytest.mark.parametrize(
    ("number", "ranks"),
    [
        *[(signal.SIGTERM, ranks) for ranks in [(0, 1), (0,), (1,)]],
        (signal.SIGUSR1, (0,)),
        (signal.SIGINT, (0, 1)),  # as a terminal sends it
        (signal.SIGINT, (1,)),
    ],
)
def test_a_signal_to_any_rank_saves_at_the_same_step_and_loses_nothing(number, ranks, undisturbed):
    run = replace(RUN, run_dir=Path("run"))
    for rank, process in enumerate(start_ranks(2, train_until, run, 5, number, ranks)):
        process.join(60)
        assert process.exitcode == 128 + (number if rank in ranks else signal.SIGTERM)
    assert checkpoint.steps(Path("run/checkpoints"))[0] == 6
    heard = number.name if 0 in ranks else "a signal to another process"
    assert status() == {"state": "preempted", "reason": f"{heard}, after step 6"}
    run_ranks(2, train, run)
    assert status()["state"] == "done"
    assert history(Path("run")) == undisturbed(2)


def test_a_second_ctrl_c_ends_at_once(undisturbed, capfd):
    run = replace(RUN, run_dir=Path("run"))
    (process,) = start_ranks(1, interrupted_twice, run)
    process.join(60)
    assert process.exitcode == 1  # of the test's fork; programs end with 130
    assert checkpoint.steps(Path("run/checkpoints")) == [4]
    assert status() == {"state": "failed", "reason": "KeyboardInterrupt: Ctrl-C once more, before all was saved"}
    said = capfd.readouterr().err
    assert said.count("Ctrl-C once more: ending at once. --resume goes on from the last checkpoint") == 1
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)


def interrupted_twice(run):
    """Train, and press Ctrl-C twice in the middle of a step."""
    original = Stepper._micro_batch

    def press(self, given, micro, progress):
        for _ in range(2 if given.step == 5 else 0):
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, given, micro, progress)

    Stepper._micro_batch = press
    train(run)


def terminated_again_and_again(run, when):
    """Train, and be told to end: twice in the middle of a step, and where the record says how the run ended."""
    original = Status.say

    def said_how_it_ended(self, state, reason=""):
        for _ in range(2 if state == when else 0):
            os.kill(os.getpid(), signal.SIGTERM)
        original(self, state, reason)

    Status.say = said_how_it_ended
    train_until(run, 5, signal.SIGTERM) if when == "preempted" else train(run)


@pytest.mark.parametrize(("when", "steps"), [("preempted", [6, 4]), ("running", [1])])
def test_a_second_sigterm_changes_nothing_whenever_it_comes(when, steps, undisturbed):
    run = replace(RUN, run_dir=Path("run"))
    (process,) = start_ranks(1, terminated_again_and_again, run, when)
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    assert checkpoint.steps(Path("run/checkpoints")) == steps
    assert status() == {"state": "preempted", "reason": f"SIGTERM, after step {steps[0]}"}
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)


def status():
    return json.loads(Path("run/STATUS.json").read_text())


def often(run, last=None):
    """Evaluate every third step, and be told to end in the middle of a step."""
    Timetable.is_evaluation_due = lambda self, step: step % 3 == 2
    train(run) if last is None else train_until(run, last, signal.SIGTERM)


@pytest.mark.parametrize("last", [5, 11])
def test_an_evaluation_that_a_signal_left_out_is_made_up_for(last):
    run_ranks(1, often, replace(RUN, run_dir=Path("alone")))
    run = replace(RUN, run_dir=Path("run"))
    for at in (last, None):
        (process,) = start_ranks(1, often, run, at)
        process.join(60)
    assert history(Path("run")) == history(Path("alone"))


def signalled_in_evaluation(run, number):
    """Tell rank 1 to end, in the middle of one of its evaluations."""
    original, asked = evaluating.beat, []

    def beat():
        asked.append(None)
        if len(asked) == number and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        original()

    evaluating.beat = beat
    train(run)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_signal_during_an_evaluation_ends_it_on_all_ranks(number, undisturbed):
    """Each rank evaluates one batch of validation images, last weights and average; then one of test images."""
    run = replace(RUN, run_dir=Path("run"))
    for process in start_ranks(2, signalled_in_evaluation, run, number):
        process.join(60)
        assert process.exitcode == 128 + signal.SIGTERM
    assert status() == {"state": "preempted", "reason": "a signal to another process, after step 12"}
    assert not any("test" in json.dumps(line) for line in history(Path("run"))[0])
    run_ranks(2, train, run)
    assert history(Path("run")) == undisturbed(2)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_a_run_may_go_on_with_another_number_of_processes(dtype, tolerance):
    run = replace(RUN, run_dir=Path("run"), dtype=dtype)
    for world, accumulation, last in [(4, 1, 5), (1, 4, 9)]:
        for process in start_ranks(world, train_until, replace(run, accumulation=accumulation), last, signal.SIGTERM):
            process.join(60)
    run_ranks(2, train, run)
    run_ranks(1, train, replace(run, run_dir=Path("alone")))
    (lines, _), (expected, _) = history(Path("run")), history(Path("alone"))
    found, wanted = ([line["loss"] for line in part if line["split"] == "train"] for part in (lines, expected))
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def flip(file):
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: flip(path / "model.safetensors"),
        lambda path: (path / "optimizer.safetensors").write_bytes(b"short"),
        lambda path: (path / "state.json").unlink(),
        lambda path: (path / "MANIFEST.json").write_text('{"state.json": '),
        lambda path: [file.unlink() for file in path.iterdir()],
        lambda path: (path / "MANIFEST.json").write_text('{"../../config.json": {"sha256": "", "bytes": 1}}'),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(damage, finished, undisturbed):
    run = replace(RUN, run_dir=finished)
    assert checkpoint.steps(Path("run/checkpoints")) == [12, 8]
    damage(Path("run/checkpoints/step-00000012"))
    said = []
    assert checkpoint.newest(Path("run/checkpoints"), said.append).step == 8
    assert "step-00000012" in said[0]
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)


def test_a_new_checkpoint_takes_the_place_of_damaged_ones_not_of_itself():
    folder = Path("checkpoints")
    for step in (4, 8, 12):
        checkpoint.save(folder, step, {}, {}, keep=9)
    for step in (8, 12):
        (folder / f"step-{step:08d}" / "MANIFEST.json").write_text("damaged")
    checkpoint.save(folder, 6, {}, {}, keep=2)
    assert checkpoint.steps(folder) == [6, 4]
    checkpoint.save(folder, 5, {}, {}, keep=1)
    assert checkpoint.steps(folder) == [5]


def test_the_checkpoint_that_is_named_is_gone_on_from(undisturbed):
    run = replace(RUN, run_dir=Path("run"), checkpoint=Checkpoints(every=4, keep=9))
    run_ranks(1, train, run)
    named = replace(run, run_dir=None, resume=Path("run/checkpoints/step-00000004"))
    (process,) = start_ranks(1, train_until, named, 6, signal.SIGKILL)
    process.join(60)
    lines, _ = history(Path("run"))
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    run_ranks(1, train, run)  # not from what was given up
    assert history(Path("run"))[0] == undisturbed(1)[0]
    flip(Path("run/checkpoints/step-00000004/model.safetensors"))
    before = history(Path("run"))
    for name, reason in [("00000004", "does not match its checksum"), ("00000005", "No such file"), ("4", "called as")]:
        with pytest.raises(AssertionError, match=reason):
            run_ranks(1, train, replace(named, resume=Path(f"run/checkpoints/step-{name}")))
    assert history(Path("run")) == before and checkpoint.steps(Path("run/checkpoints")) == [12, 8, 4]


def test_without_a_good_checkpoint_nothing_is_thrown_away(finished):
    run = replace(RUN, run_dir=finished)
    for step in (8, 12):
        flip(Path(f"run/checkpoints/step-{step:08d}/model.safetensors"))
    before = history(Path("run"))
    with pytest.raises(UserError, match="No checkpoint in run/checkpoints can be used"):
        checkpoint.newest(Path("run/checkpoints"), lambda text: None)
    with pytest.raises(AssertionError, match="can be used"):
        run_ranks(1, train, run)
    assert history(Path("run")) == before


@pytest.mark.parametrize("place", ["write", "rename", "after"])
def test_a_checkpoint_is_whole_or_not_there_when_its_writer_is_killed(place, undisturbed):
    run = replace(RUN, run_dir=Path("run"))
    (process,) = start_ranks(1, kill_writer, run, place)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    found = checkpoint.steps(Path("run/checkpoints"))
    assert found and all(checkpoint.load(Path("run/checkpoints"), step).step == step for step in found)
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)
    assert not list(Path("run/checkpoints").glob(".writing-*"))


def kill_writer(run, place):
    calls = {"write": ("write_new", 8), "rename": ("sync_folder", 3), "after": ("sync_folder", 4)}
    name, count = calls[place]
    original, seen = getattr(checkpoint, name), []

    def killing(*arguments):
        seen.append(arguments)
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(checkpoint, name, killing)
    train(run)


def test_a_checkpoint_gets_its_name_when_all_of_it_is_on_the_disk(monkeypatch):
    happened, fsync, rename = [], os.fsync, Path.rename

    def synced(handle):
        happened.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    def named(path, target):
        happened.append("named")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", named)
    saved = checkpoint.save(Path("checkpoints"), 4, {"model": {"weight": torch.zeros(1)}}, {}, keep=2)
    files = {file.name for file in saved.iterdir()}
    before, after = happened[: happened.index("named")], happened[happened.index("named") + 1 :]
    assert set(before) == files | {f".writing-00000004-{os.getpid()}"}
    assert after == ["checkpoints"]


@pytest.fixture(params=["between", "beside"])
def wherever_it_is_written(request, monkeypatch):
    """Checkpoints between two steps, as on a CPU, and beside the training, as on a GPU."""
    monkeypatch.setattr(saver, "WRITE_BESIDE", {"cpu"} if request.param == "beside" else set())


def save_slowly(run, began, ended):
    """Train, and note between which lines of the metrics checkpoints are written."""
    original = checkpoint.save

    def save(folder, step, *rest, **options):
        lines = folder.parent / "metrics.jsonl"
        began[step] = len(lines.read_bytes())
        time.sleep(0.5)
        saved = original(folder, step, *rest, **options)
        ended[step] = len(lines.read_bytes())
        return saved

    checkpoint.save = save
    train(run)
    return began, ended


def test_checkpoints_written_beside_the_training_hold_the_state_of_their_step(monkeypatch, left_alone, undisturbed):
    alone = left_alone(1)
    monkeypatch.setattr(saver, "WRITE_BESIDE", {"cpu"})
    began, ended = run_ranks(1, save_slowly, replace(RUN, run_dir=Path("run")), {}, {})
    assert all(began[step] < ended[step] for step in (4, 8))  # it did not wait
    assert history(Path("run")) == undisturbed(1)
    for step in (8, 12):
        one, other = (checkpoint.load(folder / "checkpoints", step) for folder in (Path("run"), alone))
        torch.testing.assert_close(one.tensors, other.tensors, rtol=0.0, atol=0.0)
        assert {**one.state, "environment": {}} == {**other.state, "environment": {}}


@pytest.mark.usefixtures("wherever_it_is_written")
def test_a_full_disk_while_saving_does_not_end_the_run(undisturbed, capfd):
    run_ranks(1, full_disk, replace(RUN, run_dir=Path("run")))
    assert history(Path("run")) == undisturbed(1)
    assert checkpoint.steps(Path("run/checkpoints")) == [12, 4]
    said = capfd.readouterr().err
    assert "Warning: no checkpoint of step 8: No space left on device (1 failed so far)." in said


def full_disk(run):
    original, seen = checkpoint.write_new, []

    def write(file, data):
        seen.append(file)
        if "step-00000008" in str(file) or "00000008" in str(file.parent):
            raise OSError(28, "No space left on device")
        original(file, data)

    checkpoint.write_new = write
    train(run)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "MANIFEST.json"])
def test_a_checkpoint_that_finds_no_room_leaves_nothing(name, monkeypatch):
    checkpoint.save(Path("checkpoints"), 4, {"model": {"weight": torch.zeros(1)}}, {}, keep=2)
    before, write = sorted(Path("checkpoints").rglob("*")), checkpoint.write_new

    def half(file, data):
        write(file, data[: len(data) // 2] if file.name == name else data)
        if file.name == name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write_new", half)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(Path("checkpoints"), 8, {"model": {"weight": torch.ones(1)}}, {}, keep=2)
    assert sorted(Path("checkpoints").rglob("*")) == before


def no_room_at_the_end(run):
    checkpoint.write_new = lambda file, data: os.write(os.open("/dev/full", os.O_WRONLY), data)
    train_until(run, 5, signal.SIGTERM)


@pytest.mark.usefixtures("wherever_it_is_written")
def test_a_full_disk_when_a_run_is_interrupted_is_a_failure(capfd):
    (process,) = start_ranks(1, no_room_at_the_end, replace(RUN, run_dir=Path("run")))
    process.join(60)
    assert process.exitcode == 1  # of the test's fork; programs make 2 of a UserError
    reason = "Interrupted with no checkpoint of step 6: No space left on device."
    assert status()["state"] == "failed" and reason in status()["reason"]
    assert "(2 failed so far)" in capfd.readouterr().err


def no_room_for_metrics(run):
    """Train with a file system that takes no metrics of the steps 4 to 6."""
    original, sizes = RunFolder.log, resource.getrlimit(resource.RLIMIT_FSIZE)

    def log(self, **values):
        if 4 <= values.get("step", 0) <= 6:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, sizes[1]))
        try:
            original(self, **values)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, sizes)

    RunFolder.log = log
    train(replace(run, checkpoint=Checkpoints(every=1000)))


def test_a_full_disk_while_metrics_are_written_does_not_end_the_run(undisturbed, capfd):
    run_ranks(1, no_room_for_metrics, replace(RUN, run_dir=Path("run")))
    assert history(Path("run")) == undisturbed(1)
    assert capfd.readouterr().err.count("metrics.jsonl cannot be written for now: File too large") == 1


def no_room_before_a_checkpoint(run):
    """Train with a file system that takes no metrics of steps 3 and 4, and be killed once step 4 is saved."""
    original, sizes, save = RunFolder.log, resource.getrlimit(resource.RLIMIT_FSIZE), checkpoint.save

    def log(self, **values):
        if values["step"] in (3, 4):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1, sizes[1]))
        try:
            original(self, **values)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, sizes)

    def save_and_die(*arguments, **options):
        save(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    RunFolder.log, checkpoint.save = log, save_and_die
    train(run)


def test_a_checkpoint_made_when_there_is_room_again_has_all_metrics_before_it(undisturbed):
    run = replace(RUN, run_dir=Path("run"))
    (process,) = start_ranks(1, no_room_before_a_checkpoint, run)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert checkpoint.steps(Path("run/checkpoints")) == [4] and [line["step"] for line in lines] == [1, 2, 3, 4]
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)


def log_on_a_full_disk(run):
    with contextlib.redirect_stderr(open("/dev/full", "w", encoding="utf-8")):  # closing it would fail
        train(run)


def test_a_full_disk_for_the_log_does_not_end_the_run(undisturbed):
    run_ranks(1, log_on_a_full_disk, replace(RUN, run_dir=Path("run")))
    assert history(Path("run")) == undisturbed(1)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_no_run_unless_it_read_what_the_run_says(stream):
    """As `recipe | head -1` does, and `recipe 2>&1 | head -1`: the training itself says all on standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, RECIPES / "digits.py", "--run-dir", "run", "--steps", "2", "--model.channels", "8"]
    command += ["--model.decoder", "none", "--regularizer", "none"]  # fewer pictures
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | {stream: writer}
    ended = subprocess.run(command, **streams, text=True, timeout=100, check=False)
    os.close(writer)
    assert "Traceback" not in (ended.stdout or "") + (ended.stderr or "")
    assert ended.returncode == (0 if stream == "stdout" else 141)
    unread = {"state": "failed", "reason": "BrokenPipeError: [Errno 32] nobody reads any more what the run says"}
    assert status() == ({"state": "done", "reason": ""} if stream == "stdout" else unread)


def test_help_that_is_read_in_part_is_no_mistake():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, RECIPES / "digits.py", "--help"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=100, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def poisoned(run, bad):
    """Train with batches, on one rank, whose loss is no number."""
    original = Stepper._micro_batch

    def poison(self, given, micro, progress):
        if given.step in bad and self.accelerator.process_index == self.accelerator.num_processes - 1:
            minimised, self.minimised = self.minimised, [NotANumber()]
            measured = original(self, given, micro, progress)
            self.minimised = minimised
            return measured
        return original(self, given, micro, progress)

    Stepper._micro_batch = poison
    train(run)


def images_without_numbers(run, rank):
    """Train with a batch, on one rank, in which one pixel is no number."""
    original = Stepper._micro_batch

    def poison(self, given, micro, progress):
        make, is_bad = self.batches.make, given.step == 3 and self.accelerator.process_index == rank

        def bad(*arguments):
            batch = make(*arguments)
            batch.images[0, 0, 0, 0] = torch.nan
            return batch

        self.batches.make = bad if is_bad else make
        measured = original(self, given, micro, progress)
        self.batches.make = make
        return measured

    Stepper._micro_batch = poison
    train(run)


@pytest.mark.parametrize(("world", "rank"), [(1, 0), (2, 0), (2, 1)])
def test_running_statistics_forget_a_bad_batch(world, rank):
    run = replace(RUN, run_dir=Path("run"), batch_size=8, steps=6, model=models("self_routing_resnet"))
    run = replace(run, loss=losses("cross_entropy"), regularizer=losses("none"))
    run_ranks(world, images_without_numbers, run, rank)
    lines, _ = history(Path("run"))
    assert [line["step"] for line in lines if line.get("skipped")] == [4]
    assert all(tensor.isfinite().all() for tensor in load_file("run/model.safetensors").values())
    assert all(line["loss"] == line["loss"] for line in lines if line["split"] in ("validation", "test"))


class NotANumber:
    def __call__(self, output, images, labels, progress):
        nothing = 0 * output.reconstruction.mean()
        return {"margin": output.scores.mean() * torch.nan, "reconstruction": nothing}  # terms as on other ranks


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("world", [1, 2])
def test_a_bad_batch_on_one_rank_is_skipped_by_all(world, exact):
    run = replace(RUN, run_dir=Path("run"), regularizer=losses("reconstruction"), exact=exact)
    run_ranks(world, poisoned, run, {3})
    lines, _ = history(Path("run"))
    steps = [line for line in lines if line["split"] == "train"]
    assert [line["step"] for line in steps if line["skipped"]] == [4]
    assert all(torch.isfinite(tensor).all() for tensor in load_file("run/model.safetensors").values())
    assert torch.isfinite(torch.tensor([line["loss"] for line in steps[4:]])).all()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", list(optimizers))
def test_a_gradient_that_is_not_finite_changes_neither_weights_nor_optimizer(name, exact):
    """By PyTorch's fused optimizers, which skip on the device, and by its loops."""
    accelerator, weight = Accelerator(cpu=True), torch.nn.Parameter(torch.ones(3))
    with fast_paths(not exact):
        optimizer = accelerator.prepare(optimizers(name).build([weight], 0.1))
    assert getattr(optimizer.optimizer, "_step_supports_amp_scaling", False) != exact
    seen = []
    for value in (1.0, torch.nan, torch.inf, 1.0):
        weight.grad = torch.full_like(weight, value)
        skipped = step_if_finite(optimizer, weight.grad.norm())
        kept = {key: held.clone() for key, held in optimizer.state[weight].items() if torch.is_tensor(held)}
        seen.append((float(skipped), {"weight": weight.detach().clone(), **kept}))
    assert [skipped for skipped, _ in seen] == [0, 1, 1, 0]
    states = [{key: held.tolist() for key, held in state.items()} for _, state in seen]
    assert states[0] == states[1] == states[2] != states[3]


def test_bad_batches_in_a_row_stop_the_run_with_their_samples():
    with pytest.raises(AssertionError, match=r"3 steps in a row, up to step 6.*training images \[\d+, "):
        run_ranks(1, poisoned, replace(RUN, run_dir=Path("run"), max_skipped=3), {3, 4, 5, 6})
    assert json.loads(Path("run/STATUS.json").read_text())["state"] == "failed"


def test_a_folder_in_use_is_refused_with_its_owner():
    run = replace(RUN, run_dir=Path("run"), steps=10_000, epochs=10_000)
    (process,) = start_ranks(1, train, run)
    while not Path("run/config.json").exists():
        assert process.is_alive()
        time.sleep(0.05)
    with pytest.raises(AssertionError, match=f"in use by another job: process {process.pid} on"):
        run_ranks(1, train, replace(run, steps=1))
    assert process.is_alive()  # the one that was first goes on


def test_other_options_are_named_and_refused_when_strict(finished, capfd):
    changed = replace(RUN, run_dir=finished, lr=5e-4, steps=14)
    with pytest.raises(AssertionError, match=r"--strict-resume: run.lr: 0.001 before, 0.0005 now; run.steps: 12"):
        run_ranks(1, train, replace(changed, strict_resume=True))
    run_ranks(1, train, changed)
    assert "run.lr: 0.001 before, 0.0005 now" in capfd.readouterr().err


def test_time_that_is_up_saves_and_ends(undisturbed):
    run = replace(RUN, run_dir=Path("run"))
    (process,) = start_ranks(1, train, replace(run, max_time=1e-9))
    process.join(60)
    assert process.exitcode == 128 + signal.SIGTERM
    assert checkpoint.steps(Path("run/checkpoints")) == [1]
    run_ranks(1, train, run)
    assert history(Path("run")) == undisturbed(1)


def test_the_clock_saves_too():
    run_ranks(1, train, replace(RUN, run_dir=Path("run"), checkpoint=Checkpoints(every=1000, minutes=1e-9, keep=99)))
    assert checkpoint.steps(Path("run/checkpoints")) == list(range(12, 0, -1))


def test_resume_takes_the_folder_of_a_run_or_one_of_its_checkpoints(finished):
    longer = replace(RUN, steps=14, run_dir=None)
    run_ranks(1, train, replace(longer, resume=finished))
    run_ranks(1, train, replace(longer, steps=16, resume=Path("run/checkpoints/step-00000012")))
    lines, _ = history(Path("run"))
    assert [line["step"] for line in lines if line["split"] == "train"] == list(range(1, 17))
    with pytest.raises(UserError, match="not the folder of a run"):
        train(replace(longer, resume=Path("absent")))


@pytest.mark.slow
def test_a_real_launch_is_resumed_by_the_same_command():
    """By the launch file for the CPU, which starts two processes."""
    file, recipe = RECIPES.parent / "launch" / "cpu.yaml", RECIPES / "digits.py"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", file, recipe, "--run-dir", "run"]
    command += ["--resume", "auto", "--steps", "6", "--checkpoint.every", "2", "--model.channels", "8"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True) as first:
        while not checkpoint.steps(Path("run/checkpoints")):
            assert first.poll() is None
            time.sleep(0.05)
        os.killpg(first.pid, signal.SIGKILL)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("parameters, 2 process(es)") == 1
    assert json.loads(Path("run/environment.json").read_text())["processes"] == 2
    lines, _ = history(Path("run"))
    assert [line["step"] for line in lines if line["split"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert not multiprocessing.active_children()
