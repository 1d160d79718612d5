"""One process hangs, fails or dies: the others say so in time, and the run goes on bit for bit."""

import ctypes
import json
import os
import random
import signal
import socket
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from conftest import run_ranks, start_ranks
from test_resume import RUN, history, left_alone, undisturbed  # noqa: F401
from torch import distributed

from capsnet_dist.config import command_line
from capsnet_dist.processes import watchdog
from capsnet_dist.saved import checkpoint
from capsnet_dist.train import main, train
from capsnet_dist.training.guard import Guard
from capsnet_dist.training.stepper import Stepper

STEP = 6  # in the middle of which something happens, after the checkpoint of step 4
RUN = replace(RUN, run_dir=Path("run"), timeout=60.0)  # enough to start on a busy machine


def train_with(fault, rank, run, timeout=None, slow=None, pause=0.0):
    """Train, and let one rank do something else in the middle of a step; from there on wait no longer than this.

    Another rank may be slow in that step.
    """
    original = Stepper._micro_batch

    def faulty(self, given, micro, progress):
        watchdog.beat(given.step)
        if given.step == STEP and timeout is not None:
            watchdog._current._timeout = timeout
            if self.accelerator.num_processes > 1:
                distributed.set_timeout(timedelta(seconds=timeout))
            time.sleep(0.3)  # the watchdog looks
        if given.step == STEP and self.accelerator.process_index == rank:
            fault()
            watchdog._current._timeout = run.timeout
        if given.step == STEP and self.accelerator.process_index == slow:
            time.sleep(pause)
        return original(self, given, micro, progress)

    Stepper._micro_batch, watchdog.LOOK, watchdog.GRACE = faulty, 0.1, 1.0
    command_line.parse = lambda default, *_: default
    main(run)


def sleep():
    time.sleep(1000)


def sleep_with_the_interpreter():
    ctypes.PyDLL(None).sleep(1000)  # a PyDLL keeps the interpreter lock: no Python thread runs


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise MemoryError("no memory for so many capsules")


def ended(ranks, seconds):
    """Exit codes of ranks that must end by themselves."""
    deadline = time.monotonic() + seconds
    try:
        for process in ranks:
            process.join(max(0.0, deadline - time.monotonic()))
        return [process.exitcode for process in ranks]
    finally:
        for process in ranks:
            process.kill()


def status():
    return json.loads(Path("run/STATUS.json").read_text())


@pytest.mark.parametrize(
    ("fault", "rank", "world"),
    [(sleep, 1, 3), (sleep_with_the_interpreter, 0, 2)],
)
def test_a_hung_rank_is_named_shows_its_stack_and_ends(fault, rank, world, capfd):
    batch_size = 36 if world == 3 else 32
    ranks = start_ranks(world, train_with, fault, rank, replace(RUN, batch_size=batch_size), 2.0)
    codes = ended(ranks, 40)
    assert codes == [1] * world
    said = capfd.readouterr().err
    message = f"Step {STEP + 1} was not finished: no word from rank {rank} (process {ranks[rank].pid} on "
    assert said.count(message) == world - 1
    assert f"in {fault.__name__}" in said
    if fault is sleep:
        assert f"Rank {rank} (process {ranks[rank].pid}) hangs in step {STEP + 1}" in said
    assert status()["state"] == "failed" and message in status()["reason"]
    assert checkpoint.steps(Path("run/checkpoints")) == [4]


@pytest.mark.parametrize(
    ("rank", "slow", "pause"),
    [
        (0, 1, 0.0),
        (1, 0, 1.0),  # rank 2 waits for rank 0, not for rank 1
        (1, 2, 3.5),  # rank 2 is still at work when rank 0 has asked
    ],
)
def test_a_dead_rank_ends_the_others_with_a_message_and_no_checkpoint(rank, slow, pause, capfd):
    began = time.monotonic()
    ranks = start_ranks(3, train_with, die, rank, replace(RUN, batch_size=36), None, slow, pause)
    codes = ended(ranks, 40)
    assert codes == [-signal.SIGKILL if number == rank else 1 for number in range(3)]
    assert time.monotonic() - began < 40  # seen at once, not after the timeout
    silence = f"no word from rank {rank} (process {ranks[rank].pid} on {socket.gethostname()})"
    message = f"Step {STEP + 1} was not finished: {silence}: it hangs, was killed or cannot be reached. `--resume`"
    assert capfd.readouterr().err.count(message) == 2  # each names it, and nobody else
    assert status()["state"] == "failed" and message in status()["reason"]
    assert checkpoint.steps(Path("run/checkpoints")) == [4]


def test_the_others_repeat_why_a_rank_failed(capfd):
    codes = ended(start_ranks(2, train_with, fail, 1, RUN), 30)
    assert codes == [1, 1]
    reason = "failed: MemoryError: no memory for so many capsules"
    assert reason in status()["reason"] and "rank 1 (process" in status()["reason"]
    assert f"Rank 0: Step {STEP + 1} was not finished: rank 1" in capfd.readouterr().err


def test_a_process_that_trains_alone_shows_where_it_waits_and_goes_on(capfd, undisturbed):  # noqa: F811
    (process,) = start_ranks(1, train_with, lambda: time.sleep(2.0), 0, RUN, 0.0)
    assert ended([process], 60) == [0]
    said = capfd.readouterr().err
    assert f"hangs in step {STEP + 1}" in said and "trains alone" in said and "in <lambda>" in said
    assert history(Path("run")) == undisturbed(1)


def test_work_that_goes_on_is_no_hang():
    """Twice as long as a hang may last, in batches that are short."""
    guard, ended = watchdog.Watchdog(0.0, "Rank 0", ends=True), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watchdog, "GRACE", 1.0)
        patch.setattr(watchdog, "LOOK", 0.05)
        patch.setattr(watchdog.os, "_exit", ended.append)
        patch.setattr(watchdog.faulthandler, "dump_traceback_later", lambda *_, **__: None)  # it would end the tests
        with guard:
            for step in range(20):
                time.sleep(0.1)
                watchdog.beat(step if step % 2 else None)
            assert not ended
            time.sleep(1.5)
            assert ended  # it did look
    assert not guard.is_alive() and guard.step == 19
    watchdog.beat()  # nobody watches any more


def launcher(dies_first):
    """Fork a rank as a launcher does; where it dies first, it is gone before the rank can ask the kernel."""
    parent = os.getpid()
    if (pid := os.fork()) == 0:
        os.environ["TORCHELASTIC_RUN_ID"] = "none"
        while dies_first and os.getppid() == parent:
            time.sleep(0.01)
        with Guard(60.0):
            Path("began").touch()
            time.sleep(1000)
        os._exit(0)
    Path("pid.new").write_text(str(pid))
    Path("pid.new").rename("pid")
    while not dies_first:
        time.sleep(1)


def is_gone(pid):
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not hasattr(os, "fork") or not Path("/proc/1").exists(), reason="needs Linux")
@pytest.mark.parametrize("dies_first", [False, True])
def test_a_rank_ends_with_its_launcher(dies_first):
    (process,) = start_ranks(1, launcher, dies_first)
    while not Path("pid").exists():
        time.sleep(0.01)
    rank = int(Path("pid").read_text())
    if not dies_first:
        while not Path("began").exists():
            time.sleep(0.01)
        assert not is_gone(rank)
        process.kill()
    process.join(10)
    deadline = time.monotonic() + 5
    while not is_gone(rank) and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        assert is_gone(rank)
    finally:
        if not is_gone(rank):
            os.kill(rank, signal.SIGKILL)


@pytest.mark.parametrize("world", [1, 2])
def test_a_storm_of_kills_changes_nothing(world):
    storm(world, kills=3, seed=world)


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_a_long_storm_of_kills_changes_nothing(world):
    storm(world, kills=20, seed=10 + world)


def storm(world, kills, seed):
    """Kill a random rank at a random time and the others a moment later, as their launcher does; then let it finish."""
    run, chance = replace(RUN, batch_size=36, steps=4 * kills), random.Random(seed)
    began = time.monotonic()
    run_ranks(world, train, replace(run, run_dir=Path("alone")))
    seconds = time.monotonic() - began
    for _ in range(kills):
        ranks = start_ranks(world, train, run)
        victim = chance.choice(ranks)
        victim.join(chance.uniform(0.0, seconds))
        victim.kill()
        time.sleep(chance.uniform(0.0, 0.3))
        for process in ranks:
            process.kill()
            process.join(30)
    run_ranks(world, train, run)
    assert history(Path("run")) == history(Path("alone"))
