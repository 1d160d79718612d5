"""--compile and --exact: the same losses, with what was asked for and with nothing else."""

import contextlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import run_ranks
from test_train import RECIPES, RUN

from capsnet_dist import UserError, augmentations, losses, models, routings, votes
from capsnet_dist.kernels import FastConv2d, fast_paths
from capsnet_dist.kernels.convolution import function as bilinear_function
from capsnet_dist.kernels.routing import function as dynamic
from capsnet_dist.optim.optimizers import adam, sgd
from capsnet_dist.plugins import Output
from capsnet_dist.run import check
from capsnet_dist.train import train
from capsnet_dist.training.cuda_graph import StepGraph, StepInputs, Watched, captures
from capsnet_dist.training.regions import compile_regions

OUTPUT = Output(torch.tensor([[0.8, 0.3]]), torch.ones(1, 2, 4), torch.zeros(1, 1, 2, 2))
IMAGES, LABELS = torch.ones(1, 1, 2, 2), torch.tensor([0])
BILINEAR = RUN.model.replace(convolution="bilinear")


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, ["decoder"]), ({"convolution": "direct"}, ["conv", "primary", "decoder"])],
)
def test_regions_are_the_largest_parts_without_a_kernel_of_ours(options, expected, monkeypatch):
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: None)
    model = models("capsnet", channels=4, primary_types=2, **options).build((1, 28, 28), 10)
    assert compile_regions(model, "regions", torch.device("cpu")) == expected
    for how in ("no", "auto"):
        assert compile_regions(model, how, torch.device("cpu")) == []


def test_what_contradicts_itself_or_needs_a_gpu_is_refused():
    with pytest.raises(UserError, match="needs a GPU"):
        compile_regions(RUN.model.build((1, 8, 8), 10), "graphs", torch.device("cpu"))
    with pytest.raises(UserError, match="--exact leaves out"):
        check(replace(RUN, exact=True, compile="regions"), 1)


@pytest.mark.slow
def test_a_compiled_training_follows_the_same_trajectory():
    """In processes of their own: checks of shapes are not made to be compiled."""
    losses = []
    for how in ("no", "regions"):
        command = [sys.executable, RECIPES / "digits.py", "--steps", "3", "--run-dir", how, "--compile", how]
        command += ["--model.convolution", "direct"]
        subprocess.run(command, check=True, env=os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": "1"})
        lines = [json.loads(line) for line in Path(how, "metrics.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines if "loss" in line])
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def reached(run):
    """Which fast paths a training takes."""
    found = set()

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            found.add(name)
            return original(*arguments, **options)

        setattr(owner, name, watched)

    watch(dynamic, "even_total")
    watch(bilinear_function, "pieces")
    votes.LARGE = 0
    train(run)
    return found


def test_exact_takes_no_fast_path():
    run = replace(RUN, steps=2, model=BILINEAR)
    assert run_ranks(1, reached, run) == {"even_total", "pieces"}
    assert run_ranks(1, reached, replace(run, run_dir=Path("exact"), exact=True)) == set()


def test_exact_is_bit_for_bit_what_it_is_defined_as():
    images = torch.rand(4, 3, 16, 16)
    fast = FastConv2d(3, 8, 9, 2, algorithm="bilinear")
    model = models("capsnet", channels=8, primary_types=4, routing=routings("dynamic")).build((1, 28, 28), 10)
    with fast_paths(False):
        assert torch.equal(fast(images), torch.nn.functional.conv2d(images, fast.weight, fast.bias, 2))
        for build in (adam, sgd):
            assert not build(model.parameters(), 1e-3).defaults["fused"]
    assert not torch.equal(fast(images), torch.nn.functional.conv2d(images, fast.weight, fast.bias, 2))
    for build in (adam, sgd):
        assert build(model.parameters(), 1e-3).defaults["fused"]


def test_a_captured_step_may_compare_the_progress():
    progress = Watched(0.3)
    assert progress > 0.2 and not progress >= 0.5 and progress < 0.4 and progress != 1
    assert not progress.is_used
    assert progress.is_like(0.25) and progress.is_like(0.39)
    assert not progress.is_like(0.2) and not progress.is_like(0.5) and not progress.is_like(0.45)
    for loss in (losses("margin"), losses("margin", hard_after=0.5)):
        outcome = loss.build()(OUTPUT, IMAGES, LABELS, progress)
        torch.testing.assert_close(outcome, loss.build()(OUTPUT, IMAGES, LABELS, 0.3))
    assert not progress.is_used and progress.is_like(0.39)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + 1,
        lambda x: 1 - x,
        lambda x: torch.ones(2) * x,
        lambda x: math.exp(x),
        lambda x: min(10.0, 40.0 * x - 4.0),
        lambda x: -x,
        lambda x: round(x, 1),
        lambda x: float(f"{x:.1f}"),
        lambda x: bool(x),
        lambda x: torch.tensor(float(x)),
        lambda x: {x: 1}[x],
        lambda x: losses("spread").build()(OUTPUT, IMAGES, LABELS, x)["spread"],
    ],
)
def test_whatever_else_is_done_with_the_progress_is_noticed(use):
    progress = Watched(0.3)
    torch.testing.assert_close(use(progress), use(0.3))
    assert progress.is_used


def test_whole_steps_are_captured_only_where_a_graph_can_hold_them():
    graphs, gpu = replace(RUN, compile="graphs"), torch.device("cuda")
    parts = [*RUN.model.build((1, 8, 8), 10).modules(), losses("margin").build(), augmentations("shift").build()]
    assert captures(RUN, parts, 1, gpu, "no") and captures(graphs, parts, 1, gpu, "bf16")
    assert not captures(RUN, parts, 1, torch.device("cpu"), "no")
    assert not captures(graphs, parts, 1, gpu, "fp16")  # the scaler waits for the GPU
    assert not captures(graphs, parts, 2, gpu, "no")
    assert not captures(replace(graphs, accumulation=2), parts, 1, gpu, "no")
    assert not captures(replace(RUN, compile="regions"), parts, 1, gpu, "no")
    assert not captures(replace(RUN, exact=True), parts, 1, gpu, "no")
    assert compile_regions(RUN.model.build((1, 8, 8), 10), "graphs", gpu, whole=True) == []


def test_parts_from_elsewhere_are_captured_only_when_asked():
    class Counting(torch.nn.Module):
        """Counts its calls, which a graph would not repeat."""

    gpu = torch.device("cuda")
    assert not captures(RUN, [Counting()], 1, gpu, "no")
    assert captures(replace(RUN, compile="graphs"), [Counting()], 1, gpu, "no")


@pytest.fixture
def no_gpu(monkeypatch):
    """What a step graph needs of a GPU, done nowhere; what is captured."""
    captured = []

    class Graph:
        __class__ = torch.cuda.CUDAGraph  # says isinstance

        def replay(self):
            captured.append("replay")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: contextlib.nullcontext(captured.append("capture")))
    for name in ("Stream", "current_stream"):
        monkeypatch.setattr(torch.cuda, name, lambda: SimpleNamespace(wait_stream=lambda other: None))
    monkeypatch.setattr(torch.cuda, "stream", contextlib.nullcontext)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    return captured


def step_graph(learn):
    """A graph of such steps, what it does for one at some progress, and what it has said."""
    said = []
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
    graph = StepGraph(learn, optimizer, torch.device("cpu"), said.append)
    inputs = StepInputs(0, torch.arange(4)[None], torch.tensor(7), 0.5, 0.25)
    return lambda progress: graph(inputs, progress), said


def test_a_step_is_taken_captured_and_replayed(no_gpu):
    def learn(inputs, progress):
        assert inputs.indices.tolist() == [[0, 1, 2, 3]] and (inputs.key, inputs.lr, inputs.share) == (7, 0.5, 0.25)
        no_gpu.append("taken")
        return {"late": torch.tensor(float(progress > 0.5))}

    take, said = step_graph(learn)
    assert [take(progress)["late"].item() for progress in (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7)] == [0] * 5 + [1] * 2
    assert no_gpu == ["taken"] * 3 + 2 * ["capture", "taken", "replay", "replay"] and said == []


@pytest.mark.parametrize("late", [0.0, 0.5])
def test_no_step_is_replayed_that_changes_all_the_time(late, no_gpu):
    take, said = step_graph(lambda inputs, progress: {"loss": torch.tensor(progress + 1 if progress >= late else 0.0)})
    progresses = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8)
    expected = [progress + 1 if progress >= late else 0.0 for progress in progresses]
    torch.testing.assert_close([take(progress)["loss"].item() for progress in progresses], expected)
    assert said == ["Steps are not replayed as a CUDA graph, which would be faster: a loss changes from step to step"]


def test_a_step_that_cannot_be_captured_is_taken_as_it_is(no_gpu):
    def learn(inputs, progress):
        if "capture" in no_gpu and said == []:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")
        return {"lr": torch.as_tensor(inputs.lr)}

    take, said = step_graph(learn)
    assert [take(progress)["lr"].item() for progress in (0.0, 0.1, 0.2, 0.3, 0.4)] == [0.5] * 5
    (message,) = said
    assert message.endswith("faster: operation not permitted when stream is capturing")
