"""Launch files: Accelerate takes them, they start as many processes as they say, and a launch that does not is told."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config import config_args
from conftest import run_ranks
from test_docs import _only_check
from test_train import RUN

from capsnet_dist import UserError
from capsnet_dist.processes import requests
from capsnet_dist.processes.requests import shortfall
from capsnet_dist.train import train

ROOT = Path(__file__).parents[2]
BATCH = ROOT / "launch" / "slurm.sbatch"
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch"]
CPU = {"ACCELERATE_USE_CPU": "true"}
JOB = {"SLURM_JOB_ID": "42", "SLURM_JOB_NODELIST": "node-[1-2]", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "3"}
WITNESS = """
from accelerate import Accelerator
from capsnet_dist.processes.requests import shortfall

processes = Accelerator().num_processes
print(f"{processes} {shortfall(processes)}\\n", end="", flush=True)
"""


def run(*command, **options):
    return subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=240, check=False, **options)


@pytest.fixture
def witness():
    Path("witness.py").write_text(WITNESS)
    return "witness.py"


@pytest.fixture
def executables(monkeypatch):
    """Put scripts in the place of programs."""

    def put(**scripts):
        Path("bin").mkdir(exist_ok=True)
        for name, script in scripts.items():
            file = Path("bin", name)
            file.write_text(f"#!/bin/bash\n{script}\n")
            file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{Path('bin').resolve()}{os.pathsep}{os.environ['PATH']}")

    return put


@pytest.mark.parametrize(
    ("name", "processes", "machines"),
    [("cpu", 2, 1), ("single_gpu", 1, 1), ("multi_gpu", "gpu", 1), ("multi_node", 16, 2)],
)
def test_accelerate_reads_each_file(name, processes, machines):
    read = config_args.load_config_from_file(str(ROOT / "launch" / f"{name}.yaml"))  # refuses unknown keys
    assert (read.num_processes, read.num_machines) == (processes, machines)
    others = {"kubernetes-job", "trainjob", "sweep"}
    assert {file.stem for file in (ROOT / "launch").glob("*.yaml")} == {
        "cpu", "single_gpu", "multi_gpu", "multi_node", *others
    }  # fmt: skip


def manifest(name):
    return yaml.safe_load((ROOT / "launch" / f"{name}.yaml").read_text())


def test_kubernetes_knows_every_field_of_the_job():
    kubernetes = pytest.importorskip("kubernetes_validate")
    job = manifest("kubernetes-job")
    version = kubernetes.latest_version()
    kubernetes.validate(job, version, strict=True)
    pod = job["spec"]["template"]["spec"]
    recipe, *options = pod["containers"][0]["args"]
    run_ranks(1, _only_check, 8, [str(ROOT / recipe), *options])
    pod["terminationGracePeriodSecond"] = pod.pop("terminationGracePeriodSeconds")
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate(job, version, strict=True)


def test_kubeflow_knows_every_field_of_the_trainjob():
    models = pytest.importorskip("kubeflow_trainer_api.models")
    job = manifest("trainjob")
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job  # unknown fields would be dropped
    recipe, *options = job["spec"]["trainer"]["args"]
    run_ranks(1, _only_check, 16, [str(ROOT / recipe), *options])
    job["spec"]["trainer"]["numNode"] = job["spec"]["trainer"].pop("numNodes")
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() != job


def test_the_file_for_all_gpus_starts_one_process_on_each(witness):
    Path("four_gpus.py").write_text(
        "import torch, torch.distributed.run as torchrun\n"
        "from accelerate.commands import launch\n"
        "torch.cuda.is_available = lambda: True\n"
        "torch.cuda.device_count = lambda: 4\n"
        "launch.check_cuda_p2p_ib_support = lambda: True\n"
        "torchrun.run = lambda args: print(torchrun.config_from_args(args)[0].nproc_per_node)\n"
        "launch.main()\n"
    )
    done = run(sys.executable, "four_gpus.py", "--config_file", ROOT / "launch" / "multi_gpu.yaml", witness)
    assert done.stdout.split() == ["4"], done.stderr


def test_the_slurm_file_is_good_bash():
    assert run("bash", "-n", BATCH).stderr == ""
    if shellcheck := shutil.which("shellcheck"):
        assert run(shellcheck, BATCH).stdout == ""


def test_slurm_starts_one_launcher_a_node(executables):
    executables(
        scontrol='[ "$*" = "show hostnames node-[1-2]" ] && printf "node-1\\nnode-2\\n"',
        srun='echo "srun $1 $2"; shift 2; for node in 0 1; do SLURM_NODEID=$node "$@"; done',
        accelerate='echo "accelerate $*"',
    )
    recipe = ["recipes/digits.py", "--name", "two words"]
    done = run("bash", BATCH, *recipe, env=os.environ | JOB | {"SLURM_GPUS_ON_NODE": "4"})
    common = "--config_file launch/multi_node.yaml --num_machines 2 --num_processes 8 --main_process_ip node-1"
    assert done.stdout.splitlines() == [
        "srun --kill-on-bad-exit=1 --cpus-per-task=3",
        f"accelerate launch --machine_rank 0 {common} --main_process_port 20042 recipes/digits.py --name two words",
        f"accelerate launch --machine_rank 1 {common} --main_process_port 20042 recipes/digits.py --name two words",
    ], done.stderr


def test_launchers_of_several_machines_join(executables, witness):
    executables(
        scontrol="echo 127.0.0.1",
        srun='shift 2; for node in 0 1; do SLURM_NODEID=$node "$@" & done; wait',
        accelerate=f'shift; exec {sys.executable} -m accelerate.commands.launch "$@"',
    )
    Path("launch").symlink_to(ROOT / "launch")
    done = run("bash", BATCH, witness, env=os.environ | CPU | JOB | {"SLURM_GPUS_ON_NODE": "1"})
    assert sorted(done.stdout.splitlines()) == ["2 None", "2 None"], done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="with GPUs the processes do start")
def test_a_launch_of_fewer_processes_than_asked_is_told(witness):
    done = run(*LAUNCH, "--cpu", "--num_processes", 2, witness)
    told = done.stdout.strip()
    assert told.startswith("1 The launcher was asked for 2 processes, but training runs with 1."), done.stderr
    assert "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes 2 --num_machines 1" in told


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], 1),
        (["accelerate", "launch"], 1),
        (["accelerate", "launch", "--num-processes=3"], 3),
        (["accelerate", "launch", "--config_file", "four.yaml"], 4),
        (["accelerate", "launch", "--config_file", "four.yaml", "--num_processes", "1"], 1),
        (["accelerate", "launch", "--config_file", "gpus.yaml"], 1),
        (["accelerate", "launch", "--cpu"], 1),
    ],
)
def test_what_was_asked_is_read_as_the_launcher_reads_it(words, asked, monkeypatch):
    for name, number in (("four", 4), ("gpus", "gpu")):
        Path(f"{name}.yaml").write_text(f"distributed_type: MULTI_GPU\nnum_processes: {number}\n")
    monkeypatch.setattr(config_args, "default_config_file", "absent.yaml")
    monkeypatch.setattr(requests, "_launcher", lambda: words)
    assert shortfall(asked) is None
    assert asked == 1 or f"asked for {asked} processes" in str(shortfall(1))
    assert f"asked for {asked} processes" in str(shortfall(0))


def test_a_default_configuration_counts_unless_the_cpu_is_asked_for(monkeypatch):
    Path("two.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: 2\n")
    monkeypatch.setattr(config_args, "default_config_file", "two.yaml")
    monkeypatch.setattr(requests, "_launcher", lambda: ["accelerate", "launch"])
    assert "asked for 2" in str(shortfall(1))
    monkeypatch.setattr(requests, "_launcher", lambda: ["accelerate", "launch", "--cpu"])
    assert shortfall(1) is None


def test_processes_that_do_not_find_each_other_are_told(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "asked for 2 processes, but training runs with 1" in str(shortfall(1))
    assert shortfall(2) is None


def refused(run):
    """What each rank is told."""
    with pytest.raises(UserError) as told:
        train(run)
    Path(os.environ["RANK"]).write_text(str(told.value))


def test_what_the_first_process_refuses_the_others_refuse_too():
    """They would say that they lost it, and the message would be one of several."""
    run_ranks(2, refused, replace(RUN, run_dir=Path("run"), batch_size=9998))
    assert [Path(rank).read_text() for rank in "01"] == 2 * [
        "--batch-size 9998: there are only 1295 training images: give 1295 or less."
    ]
