"""Real launchers, two hosts, a real Slurm: what is killed, cut off or preempted goes on as if nothing had happened.

Slow, and partly for root: `python -m pytest -m slow tests/processes/test_elastic.py`.
"""

import json
import os
import random
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from conftest import start_ranks
from test_resume import history

from capsnet_dist.saved import checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "recipes" / "digits.py"
PROGRAM = f"""
import os, runpy, signal, time
from pathlib import Path
from capsnet_dist.training.stepper import Stepper

original = Stepper._micro_batch

def faulty(self, given, micro, progress):
    time.sleep(float(os.environ.get("PAUSE", "0")))
    chosen = "VICTIM" in os.environ and os.environ["RANK"] == os.environ["VICTIM"]
    if chosen and given.step == 6 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, given, micro, progress)

Stepper._micro_batch = faulty
runpy.run_path("{ROOT}/recipes/digits.py", run_name="__main__")
"""
OPTIONS = ["program.py", "--run-dir", "run", "--resume", "auto", "--checkpoint.every", "4", "--evaluate-every", "1000"]
OPTIONS += ["--model.channels", "8", "--model.primary-types", "4", "--model.decoder.hidden", "16", "--timeout", "20"]
OPTIONS += ["--progress", "plain", "--steps"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
CPU = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
LAUNCHERS = {
    "accelerate": [*ACCELERATE, "--config_file", str(ROOT / "launch" / "cpu.yaml"), "--max_restarts", "1"],
    "torchrun": [*TORCHRUN, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1"],
}


@pytest.fixture(autouse=True)
def _program():
    Path("program.py").write_text(PROGRAM)


def launch(*command, folder=None, **environment):
    """Start a command in its own session; its words go to log.txt."""
    with Path("log.txt").open("a") as log:
        return subprocess.Popen(
            [*map(str, command)], cwd=folder, env=os.environ | CPU | environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip


def finish(process, seconds=300):
    try:
        process.wait(seconds)
    finally:
        end(process)
    assert process.returncode == 0, Path("log.txt").read_text()[-5000:]


def end(*processes):
    """Kill processes and all that they have started."""
    for process in processes:
        if psutil.pid_exists(process.pid):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def wait_for(what, seconds=120):
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, Path("log.txt").read_text()[-5000:]
        time.sleep(0.1)


def saved(step=1):
    return any(found >= step for found in checkpoint.steps(Path("run/checkpoints")))


def trained(folder=Path()):
    """Training losses by step; every step must be there once."""
    lines, _ = history(folder / "run")
    losses = [(line["step"], line["loss"]) for line in lines if line["split"] == "train"]
    assert [step for step, _ in losses] == list(range(1, len(losses) + 1))
    return [loss for _, loss in losses]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The losses of 60 steps by one process that is left alone."""
    folder, known = tmp_path_factory.mktemp("alone"), []

    def losses():
        if not known:
            (folder / "program.py").write_text(PROGRAM)
            finish(launch(sys.executable, *OPTIONS, 60, folder=folder, PAUSE="0"))
            known.append(trained(folder))
        return known[0]

    return losses


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What 12 steps leave that nobody disturbs, by launcher."""
    known = {}

    def run(name):
        if name not in known:
            folder = tmp_path_factory.mktemp(name)
            (folder / "program.py").write_text(PROGRAM)
            finish(launch(*LAUNCHERS[name], *OPTIONS, 12, folder=folder))
            known[name] = history(folder / "run")
        return known[name]

    return run


@pytest.mark.parametrize(
    ("launcher", "victim", "store"),
    [("accelerate", "0", "0"), ("accelerate", "1", "1"), ("torchrun", "0", "1"), ("torchrun", "1", "0")],
)
def test_a_launcher_restarts_a_killed_rank_exactly(launcher, victim, store, undisturbed):
    """With PyTorch's own choice of a store, and with the one that our launch files make."""
    finish(launch(*LAUNCHERS[launcher], *OPTIONS, 12, VICTIM=victim, TORCH_DISABLE_SHARE_RDZV_TCP_STORE=store))
    assert Path("killed").exists() and "going on after step 4" in Path("log.txt").read_text()
    assert history(Path("run")) == undisturbed(launcher)


def logged():
    """Steps that the run has done, as far as it goes."""
    file = Path("run/metrics.jsonl")
    return file.read_text().count('"split": "train"') if file.exists() else 0


def state():
    """How the run stands, as it says; nothing before its folder is there."""
    file = Path("run/STATUS.json")
    return json.loads(file.read_text())["state"] if file.exists() else ""


def digits(words):
    """The recipe, in a process that has imported everything."""
    sys.argv = [str(DIGITS), *map(str, words)]
    runpy.run_path(sys.argv[0], run_name="__main__")


def kill_launched(launcher, chance):
    """Kill the launcher or a rank, and all that is left a moment later."""
    ranks = psutil.Process(launcher.pid).children(recursive=True)
    chance.choice([launcher, *ranks]).kill()
    time.sleep(chance.uniform(0, 0.5))
    end(launcher)
    assert not psutil.wait_procs(ranks, timeout=20)[1]


def kill_forked(ranks, chance):
    """Kill a rank, and the other a moment later, as their launcher does."""
    chance.choice(ranks).kill()
    time.sleep(chance.uniform(0, 0.5))
    for process in ranks:
        process.kill()
        process.join(20)
        assert not process.is_alive()


@pytest.mark.pictures  # which a real launch draws, and measures
def test_the_digits_recipe_killed_twenty_times_ends_with_the_same_weights():
    """Two of the twenty, and what follows the last, by a real launcher; the others by ranks that need no imports."""
    words = ["--progress", "plain", "--steps", 252]
    for process in start_ranks(2, digits, [*words, "--run-dir", "alone"]):
        process.join(300)
        assert process.exitcode == 0
    chance, again = random.Random(0), [*words, "--run-dir", "run", "--resume", "auto", "--checkpoint.every", 6]
    launched = [*LAUNCHERS["accelerate"][:-2], DIGITS, *again]
    for number in range(20):
        is_real = number in (0, 10)
        started = launch(*launched) if is_real else start_ranks(2, digits, again)
        if chance.random() < 0.25:
            time.sleep(chance.uniform(0, 8 if is_real else 1))  # while it starts
        else:
            step = 12 * number + chance.randint(1, 12)
            wait_for(lambda step=step: logged() >= step)
        assert state() != "done", "it was done before it was killed twenty times"
        (kill_launched if is_real else kill_forked)(started, chance)
    finish(launch(*launched))
    assert history(Path("run")) == history(Path("alone"))


def test_ranks_end_with_their_launcher():
    process = launch(*LAUNCHERS["torchrun"], *OPTIONS, 10_000)
    wait_for(saved)
    ranks = psutil.Process(process.pid).children(recursive=True)
    assert len(ranks) == 2
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_launcher_saves(number):
    process = launch(*LAUNCHERS["torchrun"], *OPTIONS, 10_000, PAUSE="0.05")
    wait_for(saved)
    process.send_signal(number)
    assert process.wait(60) != 0
    (newest, *_) = checkpoint.steps(Path("run/checkpoints"))
    assert json.loads(Path("run/STATUS.json").read_text())["state"] == "preempted"
    assert len(trained()) == newest  # no step was lost


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")


def ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces joined by a cable: their commands start with the words given."""
    names = [f"capsnet{os.getpid()}{letter}" for letter in "ab"]
    cable = [f"cn{os.getpid() % 100_000}{letter}" for letter in "ab"]  # at most 15 letters
    try:
        ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1])
        for number, (name, end_of_cable) in enumerate(zip(names, cable, strict=True), 1):
            ip("netns", "add", name)
            ip("link", "set", end_of_cable, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end_of_cable)
            ip("-n", name, "link", "set", end_of_cable, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield [*names, *cable]
    finally:
        for name in names:
            ip("netns", "del", name, check=False)


def launch_on(hosts, number, steps):
    """An elastic launcher of one process on a host, whose number is 0 or 1; host 0 holds the rendezvous."""
    name, cable = hosts[number], hosts[2 + number]
    conf = f"is_host={1 - number},last_call_timeout=5,keep_alive_interval=2,keep_alive_max_attempt=3"
    command = [*TORCHRUN, "--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "3", "--rdzv-id", "test"]
    command += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29577", "--rdzv-conf", conf]
    command += ["--local-addr", f"10.77.0.{number + 1}"]
    return launch("ip", "netns", "exec", name, *command, *OPTIONS, steps, GLOO_SOCKET_IFNAME=cable, PAUSE="0.3")


def processes():
    """How many processes train now, as the run says."""
    file = Path("run/environment.json")
    return json.loads(file.read_text())["processes"] if file.exists() else 0


@contextmanager
def training_on_two(hosts, steps):
    both = [launch_on(hosts, number, steps) for number in (0, 1)]
    try:
        wait_for(lambda: saved(8))
        assert processes() == 2
        yield both
    finally:
        end(*both)


@NEEDS_ROOT
def test_a_run_outlives_a_host(hosts, alone):
    with training_on_two(hosts, 60) as (first, second):
        second.kill()  # the launcher alone: its rank must end with it
        finish(first)
    assert processes() == 1
    torch.testing.assert_close(trained(), alone(), rtol=1e-6, atol=1e-6)


@NEEDS_ROOT
def test_a_run_outlives_a_cut_cable(hosts, alone):
    with training_on_two(hosts, 60) as (first, _):
        ip("-n", hosts[1], "link", "set", hosts[3], "down")
        finish(first)
    assert processes() == 1
    assert "no word from rank" in Path("log.txt").read_text()
    torch.testing.assert_close(trained(), alone(), rtol=1e-6, atol=1e-6)


SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldPort={port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SelectType=select/linear
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
FirstJobId={job}
NodeName={host},{host}-2 NodeHostname={host} NodeAddr=127.0.0.1 Port={first},{second} CPUs=8
PartitionName=low Nodes=ALL Default=YES PriorityTier=1
PartitionName=high Nodes=ALL PriorityTier=2
"""
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def slurm(*command):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def two_nodes(tmp_path, monkeypatch):
    """A Slurm of two nodes on this machine, with a partition that preempts the other."""
    if os.geteuid() != 0 or not all(map(shutil.which, DAEMONS)):
        pytest.skip("needs root, and slurm-wlm and munge from the Debian packages")
    folder = tmp_path / "slurm"
    folder.mkdir(mode=0o755)
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o400)
    ports = {"port": free_port(), "first": free_port(), "second": free_port()}
    values = {"host": socket.gethostname().split(".")[0], "folder": folder, "job": 1 + os.getpid() % 9000}
    (folder / "slurm.conf").write_text(SLURM_CONF.format(**values, **ports))
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    files = {"socket": "munge.socket", "key-file": "key", "pid-file": "munge.pid", "log-file": "munge.log"}
    options = [f"--{name}={folder / file}" for name, file in (files | {"seed-file": "seed"}).items()]
    daemons = []
    try:
        daemons.append(launch("munged", "--foreground", "--force", *options))
        wait_for((folder / "munge.socket").exists)
        daemons.append(launch("slurmctld", "-D"))
        daemons += [launch("slurmd", "-D", "-N", name) for name in (values["host"], f"{values['host']}-2")]
        wait_for(
            lambda: (
                _all_live(daemons)
                and _answers()
                and slurm("sinfo", "-h", "-p", "low", "-t", "idle", "-o", "%D").strip() == "2"
            )
        )
        yield
    finally:
        end(*reversed(daemons))


def _all_live(daemons):
    assert all(daemon.poll() is None for daemon in daemons), Path("log.txt").read_text()
    return True


def _answers():
    return subprocess.run(["sinfo"], capture_output=True, check=False, timeout=60).returncode == 0


def job(number, field):
    words = slurm("scontrol", "show", "job", number).split()
    return dict(word.split("=", 1) for word in words if "=" in word)[field]


@pytest.mark.usefixtures("two_nodes")
def test_a_preempted_slurm_job_is_queued_again_and_resumed(monkeypatch, alone):
    for name, value in (CPU | {"PAUSE": "0.3", "GLOO_SOCKET_IFNAME": "lo"}).items():
        monkeypatch.setenv(name, value)
    Path("launch").symlink_to(ROOT / "launch")
    number = slurm("sbatch", "--parsable", "--nodes", 2, ROOT / "launch" / "slurm.sbatch", *OPTIONS, 60).strip()
    log = Path(f"slurm-{number}.out")
    try:
        wait_for(lambda: saved(8))
        assert processes() == 2
        slurm("sbatch", "--partition", "high", "--nodes", 2, "--wrap", "sleep 1")
        wait_for(lambda: job(number, "JobState") == "PENDING")
        (stopped, *_) = checkpoint.steps(Path("run/checkpoints"))
        assert state() == "preempted"
        slurm("scontrol", "update", f"JobId={number}", "StartTime=now")  # Slurm would wait two minutes
        wait_for(lambda: job(number, "JobState") not in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING"), 300)
        assert (job(number, "JobState"), job(number, "Restarts")) == ("COMPLETED", "1")
        assert f"going on after step {stopped}" in log.read_text()
        assert state() == "done" and processes() == 2
    except AssertionError as error:
        error.add_note(log.read_text()[-5000:] if log.exists() else "the job did not start")
        raise
    torch.testing.assert_close(trained(), alone(), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("two_nodes")
def test_each_task_of_a_slurm_array_is_a_run_and_goes_on_when_submitted_again(monkeypatch):
    for name, value in CPU.items():
        monkeypatch.setenv(name, value)
    Path("seeds.txt").write_text("--seed 0\n--seed 1\n")
    command = [sys.executable, *OPTIONS[:1], *OPTIONS[OPTIONS.index("--checkpoint.every") :]]
    runs = [Path(f"runs/seeds/{number}") for number in (1, 2)]
    for steps in (6, 12):  # as after a time limit
        array = slurm(
            "sbatch", "--parsable", "--array=1-2", ROOT / "launch/slurm-array.sbatch", "seeds.txt", *command, steps
        )
        wait_for(lambda array=array: not slurm("squeue", "-h", "-j", array.strip()).strip(), 600)
        logs = [log.read_text() for log in Path().glob(f"slurm-{array.strip()}_*.out")]
        assert len(logs) == 2, logs
        for run in runs:
            assert json.loads((run / "STATUS.json").read_text())["state"] == "done", logs
        assert sum("going on after step 6" in log for log in logs) == (2 if steps == 12 else 0), logs
    lines = [history(run)[0] for run in runs]
    assert [sum(line["split"] == "train" for line in each) for each in lines] == [12, 12]
    assert len({each[0]["loss"] for each in lines}) == 2
