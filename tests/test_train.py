"""The trainer: any number of processes follows one trajectory, and leaves weights that load."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks

import capsnet_dist
from capsnet_dist import UserError, augmentations, config, datasets, decoders, losses, models
from capsnet_dist.run import Run, check
from capsnet_dist.train import train

RECIPES = Path(__file__).parents[1] / "recipes"
RUN = Run(
    name="test",
    data=datasets("digits"),
    model=models(
        "capsnet", channels=8, kernel=3, primary_types=4, primary_kernel=3, decoder=decoders("masked", hidden=(16,))
    ),
    loss=losses("margin"),
    augmentation=augmentations("shift", pixels=1),
    batch_size=32,
    steps=30,
    run_dir=Path("run"),
)


def trained(run):
    train(run)
    lines = [json.loads(line) for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    return [(line["loss"], line["lr"], line["gradient_norm"]) for line in lines if line["split"] == "train"], lines[-1]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_processes_and_accumulation_follow_one_trajectory(dtype, tolerance):
    run = replace(RUN, dtype=dtype)
    reference, evaluated = run_ranks(1, trained, run)
    assert len(reference) == 30 and reference[-1][0] < reference[0][0]
    for world, accumulation in [(1, 2), (1, 4), (2, 1), (2, 2), (4, 1)]:
        folder = Path(f"run-{world}-{accumulation}")
        losses_, last = run_ranks(world, trained, replace(run, run_dir=folder, accumulation=accumulation))
        torch.testing.assert_close(losses_, reference, rtol=tolerance, atol=tolerance)
        assert last["accuracy"] == evaluated["accuracy"]


def test_two_runs_give_identical_weights():
    digests = []
    for folder in (Path("a"), Path("b")):
        run_ranks(1, trained, replace(RUN, run_dir=folder, steps=5))
        digests.append(hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest())
    assert digests[0] == digests[1]


def test_a_run_leaves_weights_that_load_and_a_configuration_that_repeats_it():
    run_ranks(1, trained, replace(RUN, steps=3))
    model = capsnet_dist.load("run")
    assert model.predict(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).names[0] in "0123456789"
    again = config.parse(replace(RUN, steps=7), ["--config", "run/config.json"])
    assert again == replace(RUN, steps=3)
    left = {str(path.relative_to("run")) for path in Path("run").rglob("*.*")}
    assert left >= {"config.json", "model.safetensors", "README.md", "metrics.jsonl", "environment.json"}
    assert left >= {"samples/0000003.png", "samples/curves.png", "samples/confusion.png"}


def test_bf16_follows_float32():
    full, _ = run_ranks(1, trained, replace(RUN, steps=10))
    half, _ = run_ranks(1, trained, replace(RUN, steps=10, run_dir=Path("half"), mixed_precision="bf16"))
    torch.testing.assert_close([x[0] for x in half], [x[0] for x in full], rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 33}, "multiple of 2, such as 32 or 34"),
        ({"lr": -1.0}, "positive"),
        ({"steps": 0}, "at least 1"),
        ({"validation": 1.0}, "less than 1"),
        ({"processes": 4}, "started 2"),
    ],
)
def test_bad_values_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        check(replace(RUN, **change), 2)


def test_a_run_folder_is_never_overwritten():
    Path("run").mkdir()
    with pytest.raises(UserError, match="never overwritten"):
        train(RUN)


def launch(*arguments, processes=1):
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    several = ["--multi_gpu", "--num_processes", "2", "--num_machines", "1"] if processes == 2 else []
    command = [sys.executable, "-m", "accelerate.commands.launch", *several, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_a_real_launch_of_two_processes_trains():
    done = launch(RECIPES / "digits.py", "--steps", 2, "--run-dir", "run", processes=2)
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("run/environment.json").read_text())["processes"] == 2
    assert done.stderr.count("parameters, 2 process(es)") == 1


def test_a_mistake_is_said_once_and_ends_with_code_2():
    command = [sys.executable, RECIPES / "digits.py", "--batch-size", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("Error:")) == (2, 1)
