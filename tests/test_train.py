"""The trainer: any number of processes follows one trajectory, and leaves weights that load."""

import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import run_ranks

import capsnet_dist
from capsnet_dist import Split, UserError, augmentations, datasets, decoders, losses, models
from capsnet_dist.config import command_line
from capsnet_dist.run import Run, check
from capsnet_dist.train import train
from capsnet_dist.training.evaluation import evaluate

NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}  # a port that nobody hears
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
    if os.environ.get("RANK", "0") != "0":  # rank 0 may still be writing
        return None
    lines = [json.loads(line) for line in (run.run_dir / "metrics.jsonl").read_text().splitlines()]
    (selected,) = (line for line in lines if line.get("weights") == "selected")
    return [(line["loss"], line["lr"], line["gradient_norm"]) for line in lines if line["split"] == "train"], selected


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_processes_and_accumulation_follow_one_trajectory(dtype, tolerance):
    run = replace(RUN, dtype=dtype, steps=30)
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


def several(runs):
    return [train(run) for run in runs]


@pytest.mark.parametrize("world", [1, 2])
def test_trainings_may_follow_one_another_in_the_same_processes(world):
    runs = [replace(RUN, steps=3, run_dir=Path(name)) for name in ("a", "b", "c")]
    runs[1] = replace(runs[1], mixed_precision="bf16", accumulation=2)
    first, _, last = run_ranks(world, several, runs)
    assert first == last
    assert [json.loads(Path(f"{name}/STATUS.json").read_text())["state"] for name in "abc"] == ["done"] * 3


@pytest.mark.pictures
def test_a_run_leaves_weights_that_load_and_a_configuration_that_repeats_it():
    run_ranks(1, trained, replace(RUN, steps=3))
    model = capsnet_dist.load("run")
    assert model.predict(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).names[0] in "0123456789"
    again = command_line.parse(replace(RUN, steps=7), ["--config", "run/config.json"])
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


@pytest.mark.parametrize("place", ["file/run", "/proc/run"])
def test_a_run_folder_that_cannot_be_made_is_refused_before_any_work(place):
    Path("file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        train(replace(RUN, run_dir=Path(place), data=datasets("mnist", root=Path("absent"))))


def test_a_refused_run_leaves_no_folder():
    with pytest.raises(UserError, match="only 1295 training images"):
        train(replace(RUN, batch_size=4096, run_dir=Path("new/run")))
    assert not Path("new").exists()


def test_a_dry_run_does_everything_and_leaves_nothing():
    run_ranks(1, dry, replace(RUN, run_dir=Path("new/run"), dry_run=True))
    assert not Path("new").exists()


def dry(run):
    assert set(train(run)) == {"last", "ema", "selected"}


@pytest.mark.parametrize(("change", "names"), [({"ema": 0.0}, {"last"}), ({"validation": 0.0}, {"last", "ema"})])
def test_average_and_validation_can_be_left_out(change, names):
    run = replace(RUN, steps=2, **change)
    accuracies = run_ranks(1, train, run)
    assert set(accuracies) == names | {"selected"}
    assert capsnet_dist.load("run").predict(torch.zeros(1, 1, 8, 8)).labels.shape == (1,)


def evaluated(counts):
    accelerator = Accelerator()
    torch.manual_seed(0)
    model = capsnet_dist.build(RUN.model, (1, 8, 8), tuple("0123456789")).double()
    found = []
    for count in counts:
        images = torch.randint(256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        split = Split(images, torch.arange(count) % 10)
        result = evaluate(model, split, [RUN.loss.build()], accelerator, batch_size=4)
        found.append((result.confusion.tolist(), result.loss))
    return found


def test_evaluation_counts_every_sample_once_for_any_number_of_processes():
    counts = (1, 3, 21)
    alone = run_ranks(1, evaluated, counts)
    for count, (confusion, _) in zip(counts, alone, strict=True):
        assert [sum(row) for row in confusion] == (torch.arange(count) % 10).bincount(minlength=10).tolist()
    for world in (2, 4):
        for (confusion, loss), (shared, mean) in zip(alone, run_ranks(world, evaluated, counts), strict=True):
            assert shared == confusion
            assert mean == pytest.approx(loss, abs=1e-12)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_run_ends_cleanly(times):
    command = [sys.executable, RECIPES / "digits.py", "--run-dir", "run"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not process.stderr.readline().startswith("step 1/"):
            assert process.poll() is None
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.01)
        said = process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in said
    if times == 1:
        assert "SIGINT: saving" in said
        assert "interrupted" in Path("run/README.md").read_text()
        assert capsnet_dist.load("run").predict(torch.zeros(1, 1, 8, 8)).labels.shape == (1,)


def test_missing_data_without_a_network_is_said_with_the_place():
    command = [sys.executable, RECIPES / "mnist.py", "--data.root", "absent"]
    done = subprocess.run(command, env=os.environ | NO_NETWORK, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert [line[:7] for line in done.stderr.splitlines()].count("Error: ") == 1
    assert "absent/MNIST/raw" in done.stderr and "--data.root" in done.stderr


def test_a_mistake_is_said_once_and_ends_with_code_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(RECIPES / "digits.py"), "--batch-size", "0"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name="__main__")
    assert (end.value.code, capsys.readouterr().err.count("Error:")) == (2, 1)
