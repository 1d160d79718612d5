"""Many runs: what docs/sweeps.md and the files in launch/ show works."""

import itertools
import json
import os
import subprocess
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from conftest import run_ranks
from test_docs import BLOCKS
from test_train import RUN

from capsnet_dist.commands.train import read_recipe
from capsnet_dist.config import command_line, to_dict
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.train import train

LAUNCH = Path(__file__).parents[1] / "launch"
SWEEP = yaml.safe_load((LAUNCH / "sweep.yaml").read_text())
PROGRAM = next(block.code for block in BLOCKS if block.file.name == "sweeps.md" and block.language == "python")
FLAGS = next(block.code for block in BLOCKS if block.file.name == "sweeps.md" and block.language == "text").splitlines()


def array_task(number):
    """What a task of the job array starts, with an srun that shows it."""
    Path("bin").mkdir(exist_ok=True)
    Path("bin/srun").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    Path("bin/srun").chmod(0o755)
    Path("routings.txt").write_text("\n".join(FLAGS))
    told = {"PATH": f"{Path('bin').resolve()}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(number)}
    words = ["bash", LAUNCH / "slurm-array.sbatch", "routings.txt", "capsnet-dist", "train", "digits", "--epochs", "5"]
    done = subprocess.run(words, env=os.environ | told, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_each_task_of_a_job_array_trains_by_a_line_of_its_own():
    for number, line in enumerate(FLAGS, 1):
        code, words, _ = array_task(number)
        place = f"--run-dir runs/routings/{number} --resume auto".split()
        assert code == 0 and words[2:] == ["capsnet-dist", "train", "digits", "--epochs", "5", *line.split(), *place]
        run = command_line.parse(read_recipe("digits"), words[5:])
        assert (run.epochs, run.seed) == (5, (number - 1) % 2)
        assert run.model.options["routing"].name == ("dynamic" if number <= 2 else "em")
    code, words, error = array_task(len(FLAGS) + 1)
    assert code == 2 and not words and error == "routings.txt has no line 5: --array must count its lines, from 1.\n"


def swept():
    """For each value that a parameter of the sweep may take, some values of all of them."""
    choices = [entry.get("values") or [entry.get("value", entry.get("min"))] for entry in SWEEP["parameters"].values()]
    for values in itertools.product(*choices):
        yield dict(zip(SWEEP["parameters"], values, strict=True))


def test_each_combination_of_a_sweep_is_a_run():
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    command = utils.create_sweep_command(SWEEP["command"])
    assert command[1:4] == ["capsnet-dist", "train", "digits"] and command[-1] == "${args}"
    default = read_recipe(command[3])
    for values in swept():
        given = utils.create_sweep_command_args({"args": {key: {"value": value} for key, value in values.items()}})
        run = to_dict(command_line.parse(default, [*command[4:-1], *given["args"]]))
        assert run["tracker"] == "wandb"
        for key, value in values.items():
            found = run
            for word in key.replace("-", "_").split("."):
                found = found[word]
            assert (found["name"] if isinstance(found, dict) else found) == value, key


def names_logged(run):
    names = set()
    Tracker.log = lambda self, values, step: names.update(values)
    train(run)
    return names


def test_what_a_sweep_maximises_is_logged():
    assert SWEEP["metric"]["name"] in run_ranks(1, names_logged, replace(RUN, steps=1))


def searched(program):
    """Run a search that gives its second trial up at the first evaluation."""
    import optuna

    class Second(optuna.pruners.BasePruner):
        def prune(self, study, trial):
            return trial.number == 1

    optuna.pruners.MedianPruner = lambda **options: Second()
    known = {}
    exec(program, known)
    return [trial.state.name for trial in known["study"].trials], known["study"].best_value


@pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")
def test_a_search_with_optuna_prunes_by_the_validation_accuracy():
    program = PROGRAM
    for full, small in {
        "channels=64": "channels=8",
        "epochs=10": "steps=6, batch_size=500",
        "trials=10": "trials=2",
    }.items():
        assert full in program
        program = program.replace(full, small)
    states, best = run_ranks(1, searched, program)
    assert states == ["COMPLETE", "PRUNED"]
    lines = [json.loads(line) for line in Path("runs/search/0/metrics.jsonl").read_text().splitlines()]
    assert best == max(line["accuracy"] for line in lines if line["split"] == "validation")
    ended = [json.loads(Path(f"runs/search/{number}/STATUS.json").read_text())["state"] for number in (0, 1)]
    assert ended == ["done", "stopped"]
