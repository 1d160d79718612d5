"""A training that gives its evaluations to a program follows the trajectory of `train`, and ends when it is left."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from test_library import RUN as SHORT
from test_library import program, without_a_launcher
from test_resume import RUN, history

from capsnet_dist.processes import watchdog
from capsnet_dist.train import evaluations, train

RUN = replace(RUN, batch_size=500, evaluate_every=1, steps=6)  # an evaluation after every second step


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone") / "run"


@pytest.fixture
def alone(folder):
    """The folder of the same training by `train`; made by the first test that asks, in which runs draw nothing."""
    if not folder.exists():
        run_ranks(1, train, replace(RUN, run_dir=folder))
    return folder


def lines_of(folder, split):
    return [line for line in history(folder)[0] if line["split"] == split]


def status():
    return json.loads(Path("run/STATUS.json").read_text())


def read_all(run):
    """All evaluations, by a program that draws numbers, trains and changes modes between them."""
    found = []
    training = evaluations(run)
    while True:
        try:
            with torch.no_grad():
                found.append(next(training))
        except StopIteration as end:
            return [(one.step, one.epoch, one.accuracy, sorted(one.results)) for one in found], end.value
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL and torch.is_grad_enabled()
        torch.manual_seed(random.randrange(9))
        if len(found) == 1:
            train(replace(run, run_dir=Path("beside"), steps=1, deterministic=True))


def test_evaluations_are_those_of_train_and_so_are_the_weights(alone):
    found, accuracies = run_ranks(1, read_all, RUN)
    assert [(step, epoch) for step, epoch, _, _ in found] == [(2, 1.0), (4, 2.0), (6, 3.0)]
    logged = lines_of(alone, "validation")
    for step, _, accuracy, names in found:
        assert accuracy == max(line["accuracy"] for line in logged if line["step"] == step) and names == ["ema", "last"]
    assert history(Path("run")) == history(alone)
    assert accuracies == {line["weights"]: line["accuracy"] for line in lines_of(alone, "test")}
    assert status()["state"] == "done"


def leave_after(run, number, ranks=(0, 1)):
    """Leave by an exception of one's own, on some of the processes."""
    found = []
    try:
        for evaluated in evaluations(run):
            found.append(evaluated.step)
            if len(found) == number and int(os.environ["RANK"]) in ranks:
                raise LookupError
    except LookupError:
        return found, True
    return found, False


@pytest.mark.parametrize("number", [1, 3])
def test_a_training_that_is_left_says_so_and_goes_on_to_the_same_end(number, alone):
    found = run_ranks(1, leave_after, RUN, number)
    assert found == ([2, 4, 6][:number], True)
    why = f"stopped by the program that was given its evaluations, after step {2 * number}"
    assert status() == {"state": "stopped", "reason": why}
    assert not lines_of(Path("run"), "test") and Path("run/model.safetensors").exists()
    run_ranks(1, train, RUN)
    assert history(Path("run")) == history(alone) and status()["state"] == "done"


@pytest.mark.parametrize("ranks", [(0, 1), (1,)])
def test_when_one_process_leaves_all_end(ranks):
    found, left = run_ranks(2, leave_after, RUN, 2, ranks)
    assert found == [2, 4] and left == (0 in ranks)
    assert status()["state"] == "stopped" and len(lines_of(Path("run"), "train")) == 4


def leave_at_once():
    for _ in evaluations(replace(SHORT, deterministic=True)):
        break


def interrupted():
    """A signal while a step is taken is heard."""
    for evaluated in evaluations(replace(SHORT, steps=100_000, max_time=0.02)):
        assert evaluated.accuracy >= 0


@pytest.mark.parametrize(
    ("action", "problem", "state"), [(leave_at_once, None, "stopped"), (interrupted, "SystemExit", "preempted")]
)
def test_what_is_changed_in_the_process_is_given_back(action, problem, state):
    assert without_a_launcher(program, action) == ([], problem)
    assert status()["state"] == state


def test_a_program_may_take_its_time():
    run_ranks(1, take_long, RUN)


def take_long(run):
    watchdog.GRACE, watchdog.LOOK = 0.0, 0.01
    barked = []
    watchdog.Watchdog._bark = lambda self, limit: barked.append(limit)
    for evaluated in evaluations(replace(run, timeout=0.3)):
        if evaluated.step == 2:
            barked.clear()
            time.sleep(0.6)
            assert not barked


def test_without_images_to_evaluate_on_it_is_refused():
    with pytest.raises(AssertionError, match="--validation 0 holds out no image"):
        run_ranks(1, read_all, replace(RUN, validation=0.0))
