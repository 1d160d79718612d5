"""What starts other programs of Accelerate starts a run; what it asks for is done, said or refused in one line."""

import json
import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import accelerate
import pytest
import torch
from test_library import without_a_launcher
from test_train import RUN
from torch import distributed
from torch.multiprocessing import ProcessRaisedException, start_processes

from capsnet_dist import UserError
from capsnet_dist.config import command_line
from capsnet_dist.processes import launching, requests
from capsnet_dist.processes.launching import make_accelerator, make_evaluator
from capsnet_dist.processes.requests import launcher_precision, remarks
from capsnet_dist.train import Trainer, main, train

RUN = replace(RUN, steps=2, progress="none", timeout=60.0)


def environment(folder="run"):
    return json.loads(Path(folder, "environment.json").read_text())


def by_debug_launcher():
    accelerate.debug_launcher(train, (RUN,), num_processes=2)


def by_notebook_launcher():
    accelerate.notebook_launcher(train, (RUN,), num_processes=2, use_port=str(free_port()), mixed_precision="bf16")


def by_variables_set_by_hand():
    start_processes(trained_by_hand, (free_port(),), nprocs=2, start_method="fork")


def trained_by_hand(rank, port):
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    train(RUN)


def by_mpi():
    start_processes(trained_by_mpi, (free_port(),), nprocs=2, start_method="fork")


def trained_by_mpi(rank, port):
    names = ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE")
    place = {f"OMPI_COMM_WORLD_{name}": str(value) for name, value in zip(names, (rank, 2, rank, 2), strict=True)}
    os.environ.update(place, MASTER_PORT=str(port))
    before = dict(os.environ)
    train(RUN)
    train(replace(RUN, run_dir=Path("again")))
    assert dict(os.environ) == before


def by_a_program_that_joins_its_processes():
    start_processes(trained_when_joined, (free_port(),), nprocs=2, start_method="fork")


def trained_when_joined(rank, port):
    distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    train(RUN)
    assert distributed.is_initialized() and not launching._joined_here  # it is not ours to part


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.parametrize(
    ("way", "precision"),
    [
        (by_debug_launcher, "no"),
        (by_notebook_launcher, "bf16"),
        (by_variables_set_by_hand, "no"),
        (by_mpi, "no"),
        (by_a_program_that_joins_its_processes, "no"),
    ],
)
def test_whatever_starts_several_processes_trains_with_all_of_them(way, precision):
    without_a_launcher(way)
    assert (environment()["processes"], environment()["mixed_precision"]) == (2, precision)
    assert json.loads(Path("run/STATUS.json").read_text())["state"] == "done"


def fail_on_one_rank():
    original = Trainer.step

    def step(self, step):
        if self.accelerator.process_index == 1:
            raise ValueError("on purpose")
        return original(self, step)

    Trainer.step = step
    with pytest.raises(ProcessRaisedException):
        accelerate.debug_launcher(told, (RUN,), num_processes=2)


def told(run):
    try:
        train(run)
    except BaseException as error:
        Path(f"told-{distributed.get_rank()}").write_text(str(error))
        raise


def test_processes_that_met_in_a_file_too_repeat_why_one_failed():
    without_a_launcher(fail_on_one_rank)
    assert "rank 1" in Path("told-0").read_text() and "ValueError: on purpose" in Path("told-0").read_text()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "asks for FSDP, but every process of a run holds the whole network. Leave"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "asks for DeepSpeed, but every process .* Leave out --use_deepspeed"),
        ({"ACCELERATE_USE_MEGATRON_LM": "true"}, "asks for Megatron-LM, but every process"),
        ({"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}, "asks for tensor, context or sequence parallelism"),
        (
            {"ACCELERATE_USE_SAGEMAKER": "true", "ACCELERATE_SAGEMAKER_DISTRIBUTED_TYPE": "DATA_PARALLEL"},
            "must start a run with NO",
        ),
        ({"ACCELERATE_MIXED_PRECISION": "fp8"}, "ACCELERATE_MIXED_PRECISION='fp8': must be one of no, fp16, bf16"),
        ({"ACCELERATE_MIXED_PRECISION": "foo"}, "ACCELERATE_MIXED_PRECISION='foo': must be one of no, fp16, bf16"),
        ({"ACCELERATE_MIXED_PRECISION": "fp16", "ACCELERATE_USE_CPU": "1"}, "fp16 needs a GPU"),
        ({"ACCELERATE_USE_CPU": ""}, "ACCELERATE_USE_CPU='': must be true or false"),
        ({"ACCELERATE_USE_CPU": "maybe"}, "ACCELERATE_USE_CPU='maybe': must be true or false"),
        ({"ACCELERATE_DEBUG_MODE": "x"}, "ACCELERATE_DEBUG_MODE='x': must be true or false"),
        ({"FORK_LAUNCHED": "x"}, "FORK_LAUNCHED='x': must be true or false"),
        ({"ACCELERATE_TORCH_DEVICE": "mps"}, "ACCELERATE_TORCH_DEVICE='mps': must be cpu or cuda"),
        ({"ACCELERATE_TORCH_DEVICE": "cuda:1"}, "CUDA_VISIBLE_DEVICES chooses among several GPUs"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE='': must be an integer"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK='x': must be an integer"),
        ({"RANK": "3"}, "RANK=3, WORLD_SIZE=1: must be"),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": ""}, "LOCAL_RANK='': must be an integer"),
        ({"RANK": "0", "WORLD_SIZE": "2", "OMP_NUM_THREADS": "4,2"}, "OMP_NUM_THREADS='4,2': must be one number"),
        ({"RANK": "0", "WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "foo"}, "GLOO_SOCKET_IFNAME='foo': must be of the"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "::1", "MASTER_PORT": "foo"}, "MASTER_PORT='foo': must be a"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "::1", "MASTER_PORT": "0"}, "MASTER_PORT='0': must be a"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(variables, message, monkeypatch, capsys):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(command_line, "parse", lambda default, *_: default)
    with pytest.raises(SystemExit, match="2"):
        main(RUN)
    said = capsys.readouterr().err
    assert re.search(message, said), said
    assert said.startswith("Error: ") and said.count("\n") == 1
    assert not Path("run").exists()


@pytest.mark.parametrize("error", [ValueError, ImportError, NotImplementedError])
def test_what_accelerate_itself_refuses_is_one_line_too(error, monkeypatch):
    def refuse(**options):
        raise error("not on this machine")

    monkeypatch.setattr(launching, "Accelerator", refuse)
    with pytest.raises(UserError, match="Accelerate cannot be set up: not on this machine"):
        make_evaluator("no")


@pytest.mark.parametrize(
    ("variables", "words", "message"),
    [
        ({"ACCELERATE_DYNAMO_BACKEND": "INDUCTOR"}, [], "dynamo backend inductor is left out: --compile regions"),
        ({"ACCELERATE_DYNAMO_BACKEND": "NO"}, [], None),
        ({"ACCELERATE_DYNAMO_BACKEND": ""}, [], None),
        (
            {"ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"},
            [],
            "of 4 is left out: --accumulation 4 does it",
        ),
        ({}, ["--gradient_accumulation_steps", "4"], "accumulation of 4 is left out"),
        ({}, ["--gradient-accumulation-steps=1"], None),
        ({}, ["--gradient_clipping", "0.5"], "clipping at 0.5 is left out: --clip-norm 0.5 does it"),
        ({}, ["--downcast_bf16"], "downcast_bf16 is left out"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, [], "srun started 2 tasks, each of which trains alone"),
        ({"SLURM_NTASKS": "2"}, [], None),  # of the batch script too
    ],
)
def test_what_is_left_out_is_said(variables, words, message, monkeypatch):
    monkeypatch.setattr(requests, "_launcher", lambda: words and ["accelerate", "launch", *words])
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = remarks(1)
    assert [message in line for line in found] == [True] if message else found == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="with GPUs these are used")
@pytest.mark.parametrize(("value", "is_said"), [("0", True), ("foo", True), ("", False), ("-1", False)])
def test_gpus_that_are_named_and_not_there_are_told(value, is_said, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    said = [f"CUDA_VISIBLE_DEVICES={value!r} names no GPU that PyTorch can use: training on the CPU."]
    assert remarks(1) == (said if is_said else [])


def test_a_dynamo_backend_of_the_launcher_compiles_nothing():
    said = without_a_launcher(compiled)
    assert said == ["no", False]


def compiled():
    os.environ["ACCELERATE_DYNAMO_BACKEND"] = "INDUCTOR"
    accelerator = make_accelerator(RUN)
    network = accelerator.prepare(torch.nn.Linear(2, 2))
    return [str(accelerator.state.dynamo_plugin.backend.value).lower(), hasattr(network, "_orig_mod")]


@pytest.mark.parametrize(
    ("variables", "precision"),
    [
        ({}, "no"),
        ({"ACCELERATE_MIXED_PRECISION": ""}, "no"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "bf16"),
        ({"MIXED_PRECISION": "bf16"}, "no"),  # of whatever else
        ({"MIXED_PRECISION": "bf16", "NPROC": "2"}, "bf16"),
    ],
)
def test_the_precision_is_that_of_the_launcher(variables, precision, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launcher_precision() == precision


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"RANK": "1", "WORLD_SIZE": "4"}, "LOCAL_RANK is not set: it tells which GPU"),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "2"}, r"LOCAL_RANK=2, but this machine has 2 GPU\(s\)"),
        ({"RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "::1"}, r"LOCAL_RANK=2, but this machine has 2 GPU\(s\)"),
    ],
)
def test_each_process_has_a_gpu_of_its_own(variables, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        make_evaluator("no")
