"""Reproducing papers: each seed is trained once and to its end, and the table says what came of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file
from test_train import RUN

import capsnet_dist.commands.reproduce as command
from capsnet_dist import UserError
from capsnet_dist.commands.reproduce import OUT_OF_TIME, reproduce
from capsnet_dist.processes.signals import Interruption
from capsnet_dist.reference import Reference
from capsnet_dist.reproduction import comparisons
from capsnet_dist.reproduction.page import NOT_RUN, page, rows
from capsnet_dist.reproduction.recipes import Recipe, all_in
from capsnet_dist.reproduction.results import Result, Trial, changes, load, save, settings

RECIPE = """
from capsnet_dist import datasets, decoders, losses, models, schedules
from capsnet_dist.reference import Reference
from capsnet_dist.run import Run

network = {"channels": 4, "kernel": 3, "primary_types": 2, "primary_kernel": 3, "decoder": decoders("none")}
run = Run(
    name="tiny", data=datasets("digits"), model=models("capsnet", **network), loss=losses("margin"),
    regularizer=losses("none"), schedule=schedules("geometric"), batch_size=256, epochs=4, progress="none",
)
reference = Reference(source="Somebody (2020)", table="Table 1", value=10.0, spread=1.0)
"""


@pytest.fixture
def recipe():
    """A recipe of a paper, and beside it one that nobody runs and one that repeats nothing."""
    Path("tiny.py").write_text(RECIPE)
    Path("other.py").write_text(RECIPE)
    Path("own.py").write_text(RECIPE.partition("reference =")[0])
    return ("tiny.py",)


def refuse(run):
    raise AssertionError(f"{run.run_dir} is trained again")


def test_each_seed_is_trained_once_and_the_page_says_what_came_of_it(recipe, monkeypatch, capsys):
    reproduce(recipe, seeds=2, epochs=1)
    (result,) = load(Path("reproduced/results"))
    assert [trial.seed for trial in result.trials] == [0, 1]
    for trial in result.trials:
        folder = Path(f"reproduced/tiny-1/seed-{trial.seed}")
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        tested = {line["weights"]: line["accuracy"] for line in lines if line["split"] == "test"}
        assert tested == {"selected": trial.accuracy, "last": trial.last, "ema": trial.average}
        assert json.loads((folder / "config.json").read_text())["run"]["seed"] == trial.seed
    text = Path("reproduced/results.md").read_text()
    assert "| tiny | 10 ± 1 (test error, %) |" in text and f"| other | 10 ± 1 (test error, %) | {NOT_RUN} |" in text
    out, err = capsys.readouterr()
    assert "1 of 4" in out and "reproduced/results.md has 1 recipes that were run, and 1 that nobody" in err
    monkeypatch.setattr(command, "train", refuse)
    reproduce(recipe, seeds=2, epochs=1)
    assert load(Path("reproduced/results")) == [result] and Path("reproduced/results.md").read_text() == text


def test_what_ran_out_of_time_goes_on_to_the_same_weights(recipe, monkeypatch):
    with monkeypatch.context() as clock, pytest.raises(SystemExit) as end:
        clock.setattr(Interruption, "is_set", True)  # heard after the first step
        reproduce(recipe, seeds=1, epochs=2, max_time=60.0, folder=Path("twice"))
    assert end.value.code == OUT_OF_TIME and not load(Path("twice/results"))
    assert json.loads(Path("twice/tiny-2/seed-0/STATUS.json").read_text())["state"] == "preempted"
    assert NOT_RUN in Path("twice/results.md").read_text()
    for folder in ("twice", "once"):
        reproduce(recipe, seeds=1, epochs=2, folder=Path(folder))
    first, second = (load_file(f"{folder}/tiny-2/seed-0/model.safetensors") for folder in ("once", "twice"))
    assert all(first[name].equal(second[name]) for name in first)
    assert load(Path("twice/results"))[0].trials[0].minutes >= 0


def test_of_two_jobs_that_reproduce_a_recipe_in_a_folder_the_second_is_refused(recipe, monkeypatch):
    begun = []

    def train(run):
        begun.append(str(run.run_dir))
        if len(begun) == 1:
            with pytest.raises(UserError, match="tiny-1 is in use by another job: process"):
                reproduce(recipe, seeds=1, epochs=1)
            assert not Path("reproduced/results.md").exists()
            reproduce(("other.py",), seeds=1, epochs=1)
        raise SystemExit(OUT_OF_TIME)

    monkeypatch.setattr(command, "train", train)
    with pytest.raises(SystemExit):
        reproduce((*recipe, "./tiny.py"), seeds=1, epochs=1)  # a recipe that is named twice waits for nobody
    assert begun == ["reproduced/tiny-1/seed-0", "reproduced/other-1/seed-0"]


def test_a_run_with_other_settings_is_neither_counted_nor_gone_on_with(recipe):
    reproduce(recipe, seeds=1, epochs=1)
    Path("tiny.py").write_text(RECIPE.replace("batch_size=256", "batch_size=128"))
    with pytest.raises(UserError, match=r"batch_size: 256 there, 128 now. Name another --folder"):
        reproduce(recipe, seeds=1, epochs=1)


def test_no_run_begins_when_the_time_is_up(recipe):
    with pytest.raises(SystemExit) as end:
        reproduce(recipe, epochs=1, max_time=1e-9)
    assert end.value.code == OUT_OF_TIME and not list(Path("reproduced").glob("tiny-1*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("own.py",), "own.py names no published result"),
        (("absent.py",), "no such file"),
        (("mnits",), "Unknown recipe 'mnits'. Did you mean 'mnist'"),
    ],
)
def test_what_is_no_recipe_is_refused_before_any_work(recipe, words, message):
    with pytest.raises(UserError, match=message):
        reproduce(words)
    assert not Path("reproduced").exists()


def made(accuracies, epochs=4, value=1.0, spread=0.1, unit="test error, %"):
    """A recipe, and what its seeds came to."""
    reference = Reference(source="Somebody (2020)", table="Table 1", value=value, spread=spread, unit=unit)
    place = {"device": "cuda: H200", "threads": 8, "processes": 1, "mixed_precision": "bf16"}
    trials = [
        Trial(seed=seed, accuracy=one, last=one, average=None, minutes=2.0, commit="abc", **place)
        for seed, one in enumerate(accuracies)
    ]
    run = replace(RUN, epochs=4)
    return Recipe("tiny", run, reference), Result("tiny", epochs, settings(run), trials)


@pytest.mark.parametrize(
    ("accuracies", "options", "ours", "within"),
    [
        ((0.990, 0.989, 0.991), {}, "1.00 ± 0.10 (3)", "yes"),
        ((0.988, 0.988, 0.988), {}, "1.20 ± 0.00 (3)", "no"),
        ((0.988, 0.987, 0.989), {}, "1.20 ± 0.10 (3)", "yes"),  # the ranges touch
        ((0.990, 0.989, 0.991), {"epochs": 2}, "1.00 ± 0.10 (3)", ""),
        ((0.990,), {}, "1.00 (1)", ""),
        ((0.990, 0.990), {"spread": None}, "1.00 ± 0.00 (2)", ""),
        ((0.990, 0.990), {"value": None}, "1.00 ± 0.00 (2)", ""),
        ((0.990, 0.990), {"value": 99.0, "unit": "test accuracy, %"}, "99.00 ± 0.00 (2)", "yes"),
    ],
)
def test_a_row_compares_only_where_epochs_and_both_deviations_allow_it(accuracies, options, ours, within):
    recipe, result = made(accuracies, **options)
    ((_, _, mean, verdict, epochs, hardware, minutes, commit),) = rows([recipe], [result])
    assert (mean, verdict, epochs) == (ours, within, f"{result.epochs} of 4")
    assert (hardware, minutes, commit) == ("H200, bf16", "2", "abc")


def test_settings_that_there_were_not_yet_do_not_count_as_changed():
    before = {"lr": 1.0, "model": {"name": "capsnet", "dim": 8}}
    assert not changes(before, {"lr": 1.0, "model": {"name": "capsnet", "dim": 8, "new": 3}, "other": 1})
    found = changes(before, {"lr": 1.0, "model": {"name": "capsnet", "dim": 16}})
    assert found == ["model.dim: 8 there, 16 now"]


def test_a_recipe_that_nobody_ran_says_so():
    recipe, result = made([0.99])
    ((_, published, ours, *_),) = rows([recipe], [replace(result, recipe="another")])
    assert (published, ours) == ("1 ± 0.1 (test error, %)", NOT_RUN)


def test_results_are_saved_for_good_and_damaged_ones_are_named():
    _, result = made([0.99, 0.98])
    save(result, Path("kept"))
    assert load(Path("kept")) == [result] and [file.name for file in Path("kept").iterdir()] == ["tiny-4.json"]
    Path("kept/tiny-4.json").write_text('{"trials": []}')
    with pytest.raises(UserError, match=r"tiny-4.json holds no result"):
        load(Path("kept"))


ROOT = Path(__file__).parents[2]
RECIPES = all_in(ROOT / "recipes")


def test_the_page_in_the_documentation_is_what_recipes_and_results_say():
    """Write it anew with `capsnet-dist reproduce --results docs/results`."""
    assert (ROOT / "docs/results.md").read_text() == page(
        RECIPES, load(ROOT / "docs/results"), comparisons.load(ROOT / "docs/results")
    )


@pytest.mark.parametrize("result", load(ROOT / "docs/results"), ids=lambda result: f"{result.recipe}-{result.epochs}")
def test_results_in_the_documentation_were_made_with_the_recipes_as_they_are(result):
    (recipe,) = [one for one in RECIPES if one.name == result.recipe]
    assert not changes(result.run, settings(recipe.shortened(result.epochs, None)))


def test_a_copy_that_is_cut_short_leaves_the_comparison_that_was_there(monkeypatch):
    Path("tiny").mkdir()
    for kind in ("json", "png"):
        Path(f"tiny/comparison.{kind}").write_text("{}")
    comparisons.keep(Path("tiny"), Path("kept"))

    def cut(source, target):
        Path(target).write_text("{")
        raise OSError("full")

    monkeypatch.setattr(comparisons.shutil, "copyfile", cut)
    with pytest.raises(OSError, match="full"):
        comparisons.keep(Path("tiny"), Path("kept"))
    assert Path("kept/comparisons/tiny.json").read_text() == "{}"
