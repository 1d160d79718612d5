"""Speeds of a comparison: training steps of all, timed in turns."""

from dataclasses import replace
from pathlib import Path

import pytest
from conftest import run_ranks
from test_train import RUN

from capsnet_dist.comparing import speed
from capsnet_dist.comparing.variants import with_routings


def pretended(seconds, timed):
    """A clock that says how long a step of each routing takes, and notes what has been timed."""

    class Timer:
        def __init__(self, run):
            self.name = run.model.options["routing"].name

        def __call__(self, repeats):
            timed.append(self.name)
            return seconds[self.name] * (1 + len(timed) / 100)  # the machine becomes slower and slower

    return Timer


@pytest.fixture
def runs():
    return with_routings(replace(RUN, steps=2, run_dir=None, progress="none"), ["dynamic", "uniform", "em"])


def test_speeds_are_ratios_to_the_baseline_of_steps_in_turns(runs, monkeypatch):
    timed = []
    monkeypatch.setattr(speed, "Timer", pretended({"dynamic": 0.2, "uniform": 0.1, "em": 0.4}, timed))
    found = speed.speeds(runs, "dynamic", Path(), is_measured=False)
    assert found == {"dynamic": 1.0, "uniform": pytest.approx(2, rel=0.02), "em": pytest.approx(0.5, rel=0.02)}
    measured = timed[4 : 4 + 2 * speed.ROUNDS]  # the first two of each warm up
    assert measured == ["dynamic", "uniform"] * speed.ROUNDS
    assert speed.speeds(runs, "dynamic", Path(), is_measured=True) == found  # kept


@pytest.mark.parametrize("is_measured", [False, True])
def test_speeds_of_other_runs_are_measured_anew(runs, monkeypatch, is_measured):
    monkeypatch.setattr(speed, "Timer", pretended({"dynamic": 0.2, "uniform": 0.1, "em": 0.4}, []))
    speed.speeds(runs, "dynamic", Path(), is_measured=False)
    if is_measured:
        del runs["em"]
    monkeypatch.setattr(speed, "Timer", pretended({"dynamic": 0.1, "uniform": 0.4, "em": 0.1}, []))
    found = speed.speeds(runs, "dynamic", Path(), is_measured=is_measured)
    assert found.keys() == runs.keys() and found["uniform"] == pytest.approx(0.25, rel=0.02)


def weights_and_seconds(run):
    timer = speed.Timer(run)
    before = [parameter.clone() for parameter in timer.trainer.model.parameters()]
    seconds = timer(5)  # more than the run has
    changed = [bool((old != new).any()) for old, new in zip(before, timer.trainer.model.parameters(), strict=True)]
    return seconds, changed, timer.taken


def test_what_is_timed_are_whole_steps_of_the_training_and_leaves_no_files(runs):
    seconds, changed, taken = run_ranks(1, weights_and_seconds, runs["em"])
    assert seconds > 0 and all(changed) and taken == 5
    assert not list(Path().iterdir())
