"""The first run: a newcomer's minute with the digits."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import capsnet_dist
from capsnet_dist import datasets

pytestmark = pytest.mark.slow
RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder that recipes/digits.py leaves."""
    folder = tmp_path_factory.mktemp("first") / "run"
    subprocess.run([sys.executable, RECIPES / "digits.py", "--run-dir", folder], check=True, timeout=600)
    return folder


def test_digits_reach_97_percent_on_their_test_split(run):
    model, test = capsnet_dist.load(run), datasets("digits").build().split("test")
    accuracy = (model.predict(test.images).labels == test.labels).float().mean()
    assert accuracy >= 0.97
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (said,) = (line["accuracy"] for line in lines if line.get("weights") == "selected")
    assert said == pytest.approx(float(accuracy))


@torch.no_grad()
def test_reconstructions_move_when_a_pose_dimension_moves(run):
    model, test = capsnet_dist.load(run), datasets("digits").build().split("test")
    scores, poses, _ = model(test.images[:20] / 255)
    labels = scores.argmax(dim=-1)
    changes = []
    for dimension in range(poses.shape[-1]):
        move = torch.zeros_like(poses)
        move[:, :, dimension] = 0.25
        change = model.rebuild(poses + move, labels) - model.rebuild(poses - move, labels)
        changes.append(float(change.abs().mean()))
    assert sum(changes) / len(changes) > 0.02  # of 1, the range of a pixel
    assert (run / "samples" / "poses.png").stat().st_size > 1000


@torch.no_grad()
def test_over_its_range_in_the_data_the_strongest_dimension_of_a_class_changes_a_pixel_by_a_tenth(run):
    model, test = capsnet_dist.load(run), datasets("digits").build().split("test")
    _, poses, rebuilt = model(test.images / 255, test.labels)
    assert (rebuilt - test.images / 255).square().mean() < 0.018  # that of the mean image of each class: 0.028
    strongest = []
    for label in range(10):
        chosen = poses[test.labels == label]
        low, high = chosen[:, label].quantile(torch.tensor([0.02, 0.98]), dim=0)
        ends = chosen[:1].repeat(2, 16, 1, 1)
        for number in range(16):
            ends[0, number, label, number], ends[1, number, label, number] = low[number], high[number]
        one, other = (model.rebuild(end, torch.full((16,), label)) for end in ends)
        strongest.append(float((one - other).abs().mean(dim=(1, 2, 3)).max()))
    assert sum(strongest) / 10 >= 0.1  # of 1, the range of a pixel
