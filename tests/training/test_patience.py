"""A training whose validation no longer improves ends, at the same step whatever happens to it."""

import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import run_ranks, start_ranks
from test_resume import RUN, history, train_until

from capsnet_dist.train import train
from capsnet_dist.training.selection import Best

RUN = replace(RUN, batch_size=500, checkpoint=replace(RUN.checkpoint, every=3), patience=2)
EPOCH = 2  # steps, with a fifth of 1,438 images held out
LAST_BETTER = 4


def train_while_better(run, killed_in=None):
    """Train as if no weights after step 4 were better; killed in the middle of a step, if one is named."""
    original = Best.offer

    def offer(self, name, step, model, result):
        if step <= LAST_BETTER:
            self.rank = [0.0, 0.0]
            original(self, name, step, model, result)

    Best.offer = offer
    if killed_in is None:
        return train(run)
    return train_until(run, killed_in, signal.SIGKILL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("patience") / "run"


@pytest.fixture
def ended(folder):
    """The folder of the run left alone; made by the first test that asks, in which runs draw nothing."""
    if not folder.exists():
        run_ranks(1, train_while_better, replace(RUN, run_dir=folder))
    return folder


def steps_of(folder, split):
    return [line["step"] for line in history(folder)[0] if line["split"] == split]


def test_a_training_ends_after_as_many_evaluations_without_better_weights_as_it_has_patience(ended):
    end = LAST_BETTER + RUN.patience * EPOCH
    assert steps_of(ended, "train") == list(range(1, end + 1)) and max(steps_of(ended, "validation")) == end
    assert {*steps_of(ended, "test")} == {end}
    why = "Ended after step 8 of 12: no evaluation after step 4 found better weights (--patience 2)"
    assert json.loads((ended / "STATUS.json").read_text()) == {"state": "done", "reason": why}
    assert f"held out. {why}. The test split took no part" in (ended / "README.md").read_text()


def test_a_training_that_becomes_better_goes_on_to_its_end():
    run_ranks(1, train_while_better, replace(RUN, run_dir=Path("run"), steps=LAST_BETTER + EPOCH))
    assert steps_of(Path("run"), "train")[-1] == LAST_BETTER + EPOCH  # patience would end two steps later
    assert json.loads(Path("run/STATUS.json").read_text()) == {"state": "done", "reason": ""}


def test_a_killed_training_ends_at_the_same_step_bit_for_bit(ended):
    run, killed_in = replace(RUN, run_dir=Path("run")), 7
    (process,) = start_ranks(1, train_while_better, run, killed_in)
    process.join(60)
    assert not Path("run/model.safetensors").exists()
    run_ranks(1, train_while_better, run)
    assert history(Path("run")) == history(ended)
    run_ranks(1, train_while_better, run)  # and it stays so
    assert history(Path("run")) == history(ended)


def test_several_processes_end_at_the_same_step(ended):
    run_ranks(2, train_while_better, replace(RUN, run_dir=Path("run")))
    assert [steps_of(Path("run"), split) for split in ("train", "test")] == [
        steps_of(ended, split) for split in ("train", "test")
    ]


def test_patience_without_images_to_judge_by_is_refused():
    with pytest.raises(AssertionError, match="--patience 2: --validation 0 holds out no image"):
        run_ranks(1, train, replace(RUN, validation=0.0, run_dir=Path("run")))
