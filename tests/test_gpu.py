"""On a GPU a run does what it does on a CPU."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from test_train import RECIPES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def train(folder, *options, cpu=False):
    """Train the digits for 40 steps; what every step logged."""
    command = [sys.executable, RECIPES / "digits.py", "--run-dir", folder, "--steps", "40", *options]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true" if cpu else "false"}
    subprocess.run(list(map(str, command)), env=environment, check=True, timeout=300)
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    assert json.loads((Path(folder) / "environment.json").read_text())["device"].startswith("cpu" if cpu else "cuda")
    return [line for line in lines if line["split"] == "train"]


@pytest.mark.parametrize(("precision", "steps", "tolerance"), [("no", 10, 2e-3), ("bf16", 10, 5e-2), ("fp16", 1, 5e-3)])
def test_a_gpu_follows_the_cpu(precision, steps, tolerance):
    expected = [line["loss"] for line in train("cpu", cpu=True)]
    found = [line["loss"] for line in train("gpu", "--mixed-precision", precision)]
    assert len(found) == 40
    # fp16 finds its scale in the first steps, which it skips meanwhile
    torch.testing.assert_close(found[:steps], expected[:steps], rtol=tolerance, atol=tolerance)
    assert found[-1] < 0.5 * found[0]


def test_two_deterministic_runs_give_identical_weights():
    for folder in ("a", "b"):
        train(folder, "--deterministic")
    a, b = (load_file(f"{folder}/model.safetensors") for folder in ("a", "b"))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_captured_steps_are_the_steps_themselves(precision, optimizer):
    options = ["--deterministic", "--mixed-precision", precision, "--optimizer", optimizer]
    assert train("captured", *options) == train("eager", *options, "--compile", "no")
    captured, eager = (load_file(f"{folder}/model.safetensors") for folder in ("captured", "eager"))
    assert all(torch.equal(captured[name], eager[name]) for name in eager)


@pytest.mark.parametrize("compiled", ["no", "auto"])
def test_a_resumed_run_is_the_run_left_alone(compiled):
    options = ["--deterministic", "--resume", "auto", "--checkpoint.every", "10", "--compile", compiled]
    alone = train("alone", *options)
    assert train("run", *options) == alone
    shutil.rmtree("run/checkpoints/step-00000040")  # as if the run had been killed before
    assert train("run", *options) == alone
    a, b = (load_file(f"{folder}/model.safetensors") for folder in ("alone", "run"))
    assert all(torch.equal(a[name], b[name]) for name in a)


WAITING = """
    from capsnet_dist import datasets, losses, models
    from capsnet_dist.loss.margin import Margin
    from capsnet_dist.train import Run, main

    @losses.register("waiting")
    class Waiting(Margin):
        def __call__(self, output, images, labels, progress):
            assert output.scores.sum().item() > 0
            return super().__call__(output, images, labels, progress)

    model = models("capsnet", channels=64, kernel=3, primary_kernel=3)
    main(Run(name="waiting", data=datasets("digits"), model=model, loss=losses("waiting"), steps=40, batch_size=64))
"""


def test_a_step_that_waits_for_the_gpu_is_trained_without_a_graph():
    Path("waiting.py").write_text(textwrap.dedent(WAITING), encoding="utf-8")
    command = [sys.executable, "waiting.py", "--run-dir", "run", "--progress", "plain", "--compile", "graphs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Steps are not replayed as a CUDA graph") == 1
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    found = [line["loss"] for line in lines if line["split"] == "train"]
    assert found[-1] < 0.5 * found[0]
