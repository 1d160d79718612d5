"""`capsnet-dist train`: recipes by name and by file, flags alone, and started by launchers; files to start from."""

import json
import runpy
import sys
from pathlib import Path

from conftest import run_ranks
from test_cli import refused, said

from capsnet_dist.commands import train
from capsnet_dist.files import shipped

ROOT = Path(__file__).parents[2]
OWN = """
from capsnet_dist import datasets, losses, models
from capsnet_dist.train import Run
run = Run(name="own", model=models("cnn", channels=(4,), kernels=(3,), hidden=(8,)), data=datasets("digits"),
    loss=losses("cross_entropy"), regularizer=losses("none"), steps=2)
"""


def test_every_recipe_has_its_run_at_module_level_and_is_known_by_its_name():
    recipes = sorted((ROOT / "recipes").glob("*.py"))
    assert shipped("recipes") == ROOT / "recipes" and len(recipes) >= 4
    for file in recipes:
        run = train.read_recipe(file.stem)
        assert run == train.read_recipe(str(file)) and run.name in (file.stem, "{model}-{data}")


def test_a_recipe_by_name_by_file_and_flags_alone_train():
    Path("own.py").write_text(OWN)
    small = ["--model.channels", "4", "--model.kernels", "3", "--model.hidden", "8", "--loss", "cross_entropy"]
    for number, words in enumerate((["own.py"], ["--data", "digits", "--model", "cnn", *small, "--steps", "2"])):
        code, out, err = run_ranks(1, said, "train", *words, "--run-dir", f"run-{number}")
        assert (code, out) == (0, ""), err
        run = json.loads(Path(f"run-{number}/config.json").read_text())["run"]
        assert (run["name"], run["model"]["name"], run["steps"]) == (["own", "cnn-digits"][number], "cnn", 2)
    code, _, err = run_ranks(1, said, "train", "digits", "--dry-run", "--batch-size", "8")
    assert code == 0 and "Dry run: nothing kept in runs/digits/" in err


def test_an_unknown_recipe_and_a_file_without_a_run_are_refused():
    assert "Unknown recipe 'minst'. Did you mean 'mnist'?" in refused("train", "minst")
    Path("none.py").write_text("")
    assert "none.py is no recipe: it must have `run = Run(...)`" in refused("train", "none.py")
    assert "absent.py: there is no such file" in refused("train", "absent.py")


def test_help_is_that_of_the_command_and_of_the_recipe():
    assert "usage: capsnet-dist train [-h] RECIPE" in said("train", "--help")[1]
    code, out, _ = said("train", "digits", "--help")
    assert code == 0 and "usage: capsnet-dist train" in out and "--model.routing.iterations" in out


def test_the_package_is_the_command_line_for_launchers(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["capsnet_dist", "--version"])
    monkeypatch.delitem(sys.modules, "capsnet_dist.__main__", raising=False)  # where another test has imported it
    runpy.run_module("capsnet_dist", run_name="__main__")
    assert capsys.readouterr().out.startswith("capsnet-dist 0.")


def test_launch_files_are_copied_and_those_that_are_there_are_kept():
    Path("out/launch").mkdir(parents=True)
    Path("out/launch/cpu.yaml").write_text("mine")
    code, out, err = said("launch-files", "out")
    assert (code, err) == (0, "") and "out/launch/cpu.yaml is there already" in out
    for file in [*(ROOT / "launch").iterdir(), *(ROOT / "recipes").glob("*.py")]:
        copied = Path("out") / file.parent.name / file.name
        assert copied.read_text() == ("mine" if file.name == "cpu.yaml" else file.read_text())
    Path("file").touch()
    assert "file/launch" in (err := refused("launch-files", "file")) and "cannot be written" in err
