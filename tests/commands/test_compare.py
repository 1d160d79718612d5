"""Comparing routings: what is measured, what the table says, and that one bad routing does not cost the others."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import run_ranks, start_ranks
from safetensors.torch import load_file
from test_train import RUN

from capsnet_dist import Capsules, Routing, Split, UserError, files, models, routings
from capsnet_dist.analysis.comparison import Comparison, Row, summarize
from capsnet_dist.analysis.comparison_table import show
from capsnet_dist.analysis.diagnosis import diagnose, watched_steps
from capsnet_dist.commands.main import main
from capsnet_dist.comparing import folder as comparison_folder
from capsnet_dist.comparing import speed, trial
from capsnet_dist.comparing.runs import OUT_OF_TIME, compare_runs
from capsnet_dist.comparing.variants import chosen, with_routings, words_of
from capsnet_dist.config import import_plugins
from capsnet_dist.processes.memory import peak_memory
from capsnet_dist.reproduction import comparisons, page
from capsnet_dist.run import Run

TINY = {"channels": 4, "kernel": 3, "primary_types": 2, "primary_kernel": 3}
IMAGES = Split(torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8), torch.zeros(5, dtype=torch.int64))


class Fixed(Routing):
    """Couplings that a test gives, and the activations that it wants."""

    def __init__(self, coupling, activation):
        super().__init__(1, 1, coupling.shape[-1], 16)
        self.coupling, self.activation = coupling, activation

    def forward(self, votes, activations):
        batch, parts = activations.shape
        votes.combine(torch.rand(batch, parts, self.wholes))  # only the last couplings count
        poses = votes.combine(self.coupling.expand(batch, parts, self.wholes))
        return Capsules(poses, self.activation.expand(batch, self.wholes))


def diagnosed(coupling, activation):
    model = models("capsnet", **TINY).build((1, 8, 8), len(activation))
    model.class_capsules.routing = Fixed(torch.tensor(coupling), torch.tensor(activation))
    return diagnose(model, IMAGES, batch_size=2)


@pytest.mark.parametrize(
    ("coupling", "expected"),
    [
        ([1 / 3, 1 / 3, 1 / 3], 1.0),
        ([2.0, 2.0, 2.0], 1.0),  # couplings that do not sum to one count as shares of their sum
        ([0.0, 1.0, 0.0], 0.0),
        ([0.5, 0.5, 0.0], 0.6309297535714575),  # ln 2 / ln 3
    ],
)
def test_entropy_says_how_evenly_parts_are_shared_out(coupling, expected):
    assert diagnosed(coupling, [1.0, 1.0, 1.0]).entropy == pytest.approx(expected, abs=1e-6)


def test_nothing_to_share_has_no_entropy():
    assert diagnosed([1.0], [1.0]).entropy is None
    assert diagnosed([0.0, 0.0], [1.0, 1.0]).entropy is None


@pytest.mark.parametrize(("activation", "dead"), [([0.05, 0.1, 0.11, 1.0], 0.5), ([0.2] * 4, 0.0), ([0.0] * 4, 1.0)])
def test_a_whole_is_dead_if_it_never_exceeds_a_tenth(activation, dead):
    assert diagnosed([0.25] * 4, activation).dead == dead


def test_a_whole_that_was_active_once_is_not_dead(monkeypatch):
    batches = iter(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]))  # five images, two at a time
    route = Fixed.forward

    def forward(self, votes, activations):
        self.activation = next(batches)
        return route(self, votes, activations)

    monkeypatch.setattr(Fixed, "forward", forward)
    assert diagnosed([0.5, 0.5], [0.0, 0.0]).dead == 0.5


def test_wholes_without_activations_are_neither_dead_nor_alive(monkeypatch):
    monkeypatch.setattr(Fixed, "makes_activations", False)
    assert diagnosed([0.5, 0.5], [0.0, 0.0]).dead is None


def test_diagnosing_leaves_the_network_as_it_was():
    model = models("capsnet", **TINY).build((1, 8, 8), 3).train()
    before = model.predict(IMAGES.images).scores
    first, second = diagnose(model, IMAGES), diagnose(model, IMAGES)
    assert first == second and model.training
    torch.testing.assert_close(model.predict(IMAGES.images).scores, before, rtol=0, atol=0)


def test_the_time_between_steps_is_counted_and_nothing_else():
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.ones(1)
    optimizer = torch.optim.SGD([weight])
    with watched_steps() as steps:
        for _ in range(3):
            optimizer.step()
            time.sleep(0.05)
    optimizer.step()
    assert len(steps.seconds()) == 2 and all(0.05 <= gap < 0.5 for gap in steps.seconds())


def peaks():
    """Of the last step; when it was taken; and at the end, after a block larger than all that was resident."""
    weight = torch.zeros(1, requires_grad=True)
    weight.grad = torch.ones(1)
    with watched_steps() as steps:
        torch.optim.SGD([weight]).step()
        needed = peak_memory()
        block = torch.ones(needed // 4 + 2**22)  # after the last step, as a plot would be
        del block
    return steps.memory, needed, peak_memory()


@pytest.mark.skipif(torch.cuda.is_available(), reason="counts what the GPU allocates there")
def test_memory_counts_until_the_last_step_and_the_peak_remembers_what_was_freed():
    """In a fork, which begins with what is resident now, not with the largest block of any test before."""
    counted, needed, peak = run_ranks(1, peaks)
    assert 0 < counted <= needed and peak >= needed + 2**24


PLUGIN = """
import os

from capsnet_dist import Capsules, Routing, UserError, lengths, routings, squash
from capsnet_dist.record.pictures import Pictures

Pictures.evaluated = Pictures.finished = lambda *given: None  # as in the process of the tests

@routings.register("halved")
class Halved(Routing):
    def forward(self, votes, activations):
        poses = squash(votes.combine(activations[..., None].expand(-1, -1, self.wholes) * 0 + 0.5))
        return Capsules(poses, lengths(poses))

@routings.register("impossible")
class Impossible(Halved):
    def __init__(self, parts, part_dim, wholes, dim):
        raise UserError("this one never works")

@routings.register("deadly")
class Deadly(Halved):
    def __init__(self, parts, part_dim, wholes, dim):
        os._exit(7)
"""


def compare_routings(run, words, seeds, folder, **how):
    return compare_runs(with_routings(run, words), seeds, folder, **how)


@pytest.fixture
def run(monkeypatch):
    """A short run, in a folder with the plugin above."""
    monkeypatch.setattr(routings, "_plugins", dict(routings._plugins))  # what a test registers goes with it
    Path("plugin.py").write_text(PLUGIN)
    return replace(RUN, steps=2, run_dir=None, progress="none")


def forked(run, *others, run_alone=trial.run_alone):
    """Train the first routing in a fork, which has imported everything, and the others in processes of their own."""
    is_first = run.model.options["routing"].name == "dynamic"
    return run_ranks(1, trial.measure, run) if is_first else run_alone(run, *others)


def test_a_comparison_trains_every_routing_alike_and_outlives_those_that_fail(run, capsys, monkeypatch):
    monkeypatch.setattr(trial, "run_alone", forked)
    import_plugins("plugin.py")
    words = ["dynamic", "halved", "impossible", "deadly"]
    rows = compare_routings(run, words, 1, Path("out"), imports=["plugin.py"], resume=True)  # what there is: nothing
    assert [(row.name, row.seeds) for row in rows] == [(n, s) for n, s in zip(NAMES, (1, 1, 0, 0), strict=True)]
    assert rows[2].problem == "this one never works" and "exit code 7" in rows[3].problem
    configs = [json.loads(Path(f"out/{name}-0/config.json").read_text()) for name in NAMES[:2]]
    for row, config in zip(rows, configs, strict=False):
        lines = [json.loads(line) for line in Path(f"out/{row.name}-0/metrics.jsonl").read_text().splitlines()]
        assert row.accuracy == next(line["accuracy"] for line in lines if line.get("weights") == "selected")
        assert row.images_per_second > 0 and 50 < row.memory < 5000 and 0 <= row.dead <= 1
        assert 0.13 < json.loads(Path("out/comparison.json").read_text())["tries"][row.name][0]["luck"] < 0.14
        assert row.entropy == pytest.approx(1.0, abs=0.1)  # hardly trained: all but even
        weights = load_file(f"out/{row.name}-0/model.safetensors")
        assert row.parameters == sum(tensor.numel() for tensor in weights.values())
        assert config["model"]["routing"]["name"] == row.name
        del config["run"]["model"]
    assert configs[0]["run"] == configs[1]["run"]
    assert "halved" in capsys.readouterr().out


NAMES = ["dynamic", "halved", "impossible", "deadly"]


@pytest.fixture
def tried(run, monkeypatch):
    """Runs that are not run: what they would measure, and the list of those that were asked for."""
    asked = []

    def pretend(run, imports, launcher, robustness, lock):
        asked.append(run)
        found = {"accuracy": 0.8 + run.seed / 10, "images_per_second": None, "memory": 100.0 + run.seed}
        found |= {"parameters": 12345, "entropy": 0.5, "dead": 0.25, "calibration": 0.125}
        if run.model.options.get("routing") == routings("impossible"):
            found = {"problem": "this one never works"}
        trial.keep(run, found)
        return found

    import_plugins("plugin.py")
    monkeypatch.setattr(trial, "run_alone", pretend)
    monkeypatch.setattr(speed, "Timer", lambda run: lambda repeats: 0.1)
    return asked


def test_a_table_gives_mean_and_sample_deviation_over_the_seeds(run, tried, capsys):
    (row,) = compare_routings(run, ["dynamic"], 3, Path("out"))
    assert row.accuracy == pytest.approx(0.9) and row.deviation == pytest.approx(0.1)  # of 0.8, 0.9 and 1
    assert (row.memory, row.parameters, row.entropy, row.dead) == (102.0, 12345, 0.5, 0.25)
    assert [run.seed for run in tried] == [0, 1, 2]
    line = "| dynamic | 3 | 90.00 ± 10.00 | 0.125 | – | 102 | 12,345 | 0.500 | 25% |"
    assert Path("out/comparison.md").read_text().splitlines()[2] == line
    assert "90.00 ± 10.00" in capsys.readouterr().out
    saved = json.loads(Path("out/comparison.json").read_text())
    assert [Row(**row) for row in saved["rows"]] == [row] and saved["run"]["batch_size"] == run.batch_size
    with Path("out/comparison.csv").open() as file:
        (values,) = csv.DictReader(file)
    assert values["accuracy"] == str(row.accuracy) and values["images_per_second"] == ""
    assert Path("out/comparison.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_compares_all_and_then_fails_when_a_routing_does(tried, capsys):
    words = ["--routings", "dynamic, impossible,halved", "--seeds", "1", "--steps", "7", "--folder", "out"]
    with pytest.raises(SystemExit, match="2"):
        main(["compare", *words])
    assert "impossible failed: this one never works" in capsys.readouterr().err
    assert [run.model.options["routing"].name for run in tried] == ["dynamic", "impossible", "halved"]
    assert {(run.steps, run.data.name, run.model.options["kernel"]) for run in tried} == {(7, "digits", 3)}
    assert len(Path("out/comparison.md").read_text().splitlines()) == 2 + 3


def test_every_flag_of_a_recipe_holds_for_all_runs_and_more_follow(tried, capsys):
    words = "--recipe mnist --routings dynamic,em:iterations=2 --data digits --steps 3 --model.channels 32 --seed 4"
    main(["compare", *words.split(), "--loss.positive", "0.8", "--model.kernel=3", "--seeds", "2", "--folder", "out"])
    assert [(one.seed, one.model.options["routing"].name) for one in tried] == [(4, "dynamic"), (4, "em")] + [
        (5, "dynamic"),
        (5, "em"),
    ]
    assert {(one.data.name, one.steps, one.batch_size) for one in tried} == {("digits", 3, 128)}
    assert {(one.model.options["channels"], one.model.options["kernel"]) for one in tried} == {(32, 3)}
    assert {one.loss.options["positive"] for one in tried} == {0.8} and type(tried[0]) is Run
    said = capsys.readouterr().err
    assert "run 1 of 4: dynamic, seed 4" in said and "run 4 of 4: em:iterations=2, seed 5, about 0:00:00 left" in said


def test_networks_are_compared_with_their_options(tried):
    words = "capsnet:kernel=3:primary-kernel=3,capsnet:kernel=3:primary_kernel=3:decoder=none,efficient_capsnet"
    main(["compare", "--models", words, "--steps", "3", "--seeds", "1", "--model.channels", "8", "--folder", "out"])
    assert [one.model.name for one in tried] == ["capsnet", "capsnet", "efficient_capsnet"]
    assert [one.model.options.get("channels") for one in tried] == [8, 8, None]  # the network of the run is changed
    assert tried[1].model.options["decoder"].name == "none"
    assert Path("out/comparison.md").read_text().startswith("| network |")


def test_an_option_may_be_a_list_and_lie_in_a_part():
    assert words_of("a:b=[1,2],c , d:e=[3]:f=4,") == ["a:b=[1,2]", "c", "d:e=[3]:f=4"]
    found = chosen(models("capsnet"), "capsnet:routing=em:routing.iterations=2:decoder.hidden=[8,4]:dim=4")
    assert found.options["routing"] == routings("em", iterations=2)
    assert found.options["decoder"].options["hidden"] == (8, 4) and found.options["dim"] == 4


def test_the_routing_of_the_network_keeps_its_options():
    own = replace(RUN, model=models("capsnet", routing=routings("dynamic", iterations=5)))
    found = with_routings(own, ["dynamic", "dynamic:gradient=last", "em"])
    assert [one.model.options["routing"].options["iterations"] for one in found.values()] == [5, 5, 3]


def test_a_routing_is_compared_with_the_options_that_follow_its_name(run, tried):
    rows = compare_routings(run, ["dynamic:iterations=2:gradient=last", "em:final_beta=0.02"], 1, Path("out"))
    assert [row.name for row in rows] == ["dynamic:iterations=2:gradient=last", "em:final_beta=0.02"]
    first, second = (one.model.options["routing"] for one in tried)
    assert (first.options["iterations"], first.options["gradient"], second.options["final_beta"]) == (2, "last", 0.02)
    assert [one.run_dir.name for one in tried] == ["dynamic-iterations=2-gradient=last-0", "em-final_beta=0.02-0"]


def test_the_difference_to_the_baseline_is_that_of_the_same_seeds():
    seeds = {"a": (0.90, 0.92, 0.94), "b": (0.91, 0.94, 0.94), "c": (0.80, 0.82, 0.84)}
    common = {"images_per_second": None, "memory": 1.0, "parameters": 1, "entropy": None, "dead": None}
    tries = {name: [common | {"accuracy": accuracy} for accuracy in values] for name, values in seeds.items()}
    first, second, third = summarize(tries, "a")
    assert first.difference is None and (second.difference, third.difference) == pytest.approx((0.01, -0.1))
    assert second.margin == pytest.approx(4.302653 * 0.01 / 3**0.5)  # t of two degrees of freedom, 97.5 %
    assert third.margin == pytest.approx(0, abs=1e-12)
    show([first, second, third], Comparison(RUN, "routing", "a"))
    tries["b"][1] = {"problem": "none"}
    assert summarize(tries, "a")[1].difference == pytest.approx(0.005)  # of the first seed and the last
    assert summarize({"a": tries["a"][:1], "b": tries["b"][:1]}, "a")[1].margin is None


def test_the_speed_of_a_routing_and_that_of_its_baseline_are_reciprocal_however_the_machine_slows_down():
    common = {"accuracy": 0.5, "memory": 1.0, "parameters": 1, "entropy": None, "dead": None}
    speeds = {"a": (4000.0, 1000.0, 2000.0), "b": (1000.0, 2000.0, 1000.0)}
    tries = {name: [common | {"images_per_second": one} for one in values] for name, values in speeds.items()}
    (_, second), (first, _) = summarize(tries, "a"), summarize(tries, "b")
    assert second.speed == pytest.approx(1 / first.speed) and second.speed == pytest.approx((1 / 4) ** (1 / 3))


def test_the_table_says_which_runs_failed_and_which_learned_nothing(capsys):
    common = {"images_per_second": None, "memory": 1.0, "parameters": 1, "entropy": None, "dead": None, "luck": 0.13}
    good, guess, failed = common | {"accuracy": 0.9}, common | {"accuracy": 0.1}, {"problem": "no *memory*"}
    rows = summarize({"a": [good, good], "b": [guess, guess], "c": [good, guess], "d": [failed, good]}, "a")
    show(rows, Comparison(RUN, "routing", "a"))
    a, b, c, d = capsys.readouterr().out.splitlines()[1:]
    assert "chance" not in a and "10.00 ± 0.00: no better than chance" in b and ": 1 of 2 no better than chance" in c
    assert d.split()[:4] == ["d", "1", "of", "2"]
    found = comparisons.sentences(rows, "a")
    assert r"`d` failed with 1 of 2 seeds: no \*memory\*." in found
    assert "`b` is no better than chance with 2 of 2 seeds." in found
    same = [Row(name, 2, 0.9, difference=0.0, margin=0.1) for name in "bcd"]
    assert comparisons.sentences(same, "a")[0] == "Against `a`, `b`, `c` and `d` are not distinguishable."


def test_the_table_says_what_is_not_distinguishable(run, tried, monkeypatch, capsys):
    accuracies = iter([0.90, 0.91, 0.80, 0.92, 0.94, 0.82, 0.94, 0.94, 0.85])  # seed by seed
    found = {"images_per_second": None, "memory": 1.0, "parameters": 1, "entropy": None, "dead": None}
    monkeypatch.setattr(trial, "run_alone", lambda *run: found | {"accuracy": next(accuracies)})
    compare_routings(run, ["dynamic", "uniform", "em"], 3, Path("out"), baseline="dynamic")
    lines = Path("out/comparison.md").read_text().splitlines()
    assert [line.split(" | ")[-1].strip(" |") for line in (lines[0], *lines[2:])] == [
        "against dynamic",
        "–",
        "+1.00 ± 2.48: not distinguishable",
        "-9.67 ± 1.43",
    ]
    assert "not distinguishable" in capsys.readouterr().out
    assert json.loads(Path("out/comparison.json").read_text())["baseline"] == "dynamic"


def test_what_a_comparison_has_done_is_not_done_again(run, tried):
    compare_routings(run, ["dynamic", "uniform"], 1, Path("out"))
    rows = compare_routings(run, ["dynamic", "uniform", "em"], 2, Path("out"), resume=True)
    names = [one.run_dir.name for one in tried]
    assert names == ["dynamic-0", "uniform-0", "em-0", "dynamic-1", "uniform-1", "em-1"]
    assert [row.seeds for row in rows] == [2, 2, 2] and {one.resume for one in tried[2:]} == {"auto"}


def test_a_comparison_takes_a_recipe(tried):
    recipe = Path("recipe.py")
    recipe.write_text(
        "from capsnet_dist import datasets, losses, models\nfrom capsnet_dist.run import Run\n"
        'run = Run(name="x", data=datasets("digits"), model=models("efficient_capsnet"), loss=losses("margin"), lr=0.5)'
    )
    main(["compare", "recipe.py", "--routings", "dynamic,halved", "--seeds=1", "--epochs=3", "--folder", "out"])
    assert {(one.model.name, one.lr, one.epochs) for one in tried} == {("efficient_capsnet", 0.5, 3)}


def test_a_failed_run_is_tried_again_and_a_note_is_all_there_or_not_at_all(run, tried):
    compare_routings(run, ["dynamic", "impossible"], 1, Path("out"))
    compare_routings(run, ["dynamic", "impossible"], 1, Path("out"), resume=True)
    assert [one.run_dir.name for one in tried] == ["dynamic-0", "impossible-0", "impossible-0"]
    own = replace(run, run_dir=Path("out/dynamic-0"))
    before = trial.known(own)

    process = multiprocessing.get_context("fork").Process(target=_keep_and_die, args=(own,))
    process.start()
    process.join(30)
    assert process.exitcode == 7 and trial.known(own) == before
    trial.keep(own, before | {"accuracy": 0.5})  # whoever goes on is not disturbed by what was left
    assert trial.known(own)["accuracy"] == 0.5


def _keep_and_die(run):
    """Write another note, and be killed when its bytes are written and it is not yet in its place."""
    files.sync = lambda descriptor: os._exit(7)
    trial.keep(run, {"accuracy": 0.0})


def test_of_several_processes_rank_0_says_what_came_of_a_run(run):
    found = run_ranks(2, trial.measure, replace(run, run_dir=Path("out").resolve()))
    assert found["place"]["processes"] == 2 and 0 <= found["accuracy"] <= 1 and found["images_per_second"] > 0


LAUNCHER = """
import os, signal, sys, time

signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
time.sleep(0.2)
os.kill(os.getppid(), signal.SIGTERM)
time.sleep(30)
"""


def test_an_interruption_ends_the_comparison_whatever_the_launcher_ends_with(run):
    Path("launcher.py").write_text(LAUNCHER)
    with pytest.raises(SystemExit) as end:
        trial.run_alone(replace(run, run_dir=Path("out")), launcher=f"{sys.executable} launcher.py")
    assert end.value.code == 128 + signal.SIGTERM and not Path("out.job.json").exists()


def test_a_second_comparison_in_the_folder_does_not_disturb_the_run_of_the_first(run):
    Path("launcher.py").write_text("import os, sys; os.unlink(sys.argv[-1])")  # as the second does, when refused
    found = trial.run_alone(replace(run, run_dir=Path("out")), launcher=f"{sys.executable} launcher.py")
    assert "exit code 0" in found["problem"]


def test_of_two_comparisons_in_a_folder_the_second_is_refused_before_any_run(run, tried, monkeypatch):
    def another(*given):
        before = sorted(Path("out").iterdir())
        with pytest.raises(UserError, match=rf"out is in use by another job: process {os.getpid()} on"):
            compare_routings(run, ["uniform", "dynamic"], 2, Path("out"), resume=True)
        assert sorted(Path("out").iterdir()) == before
        return pretend(*given)

    pretend = trial.run_alone
    monkeypatch.setattr(trial, "run_alone", another)
    compare_routings(run, ["dynamic"], 1, Path("out"))
    assert [one.run_dir for one in tried] == [Path("out/dynamic-0")]
    compare_routings(run, ["dynamic"], 1, Path("out"), resume=True)  # the first has ended


OUTLIVING = """
import json, os, pathlib, signal, sys, time

os.kill(os.getppid(), signal.SIGKILL)
time.sleep(1)
found = {"accuracy": 0.75, "images_per_second": None, "memory": 1.0, "parameters": 1, "entropy": 1.0, "dead": 0.0}
pathlib.Path(sys.argv[-1].replace(".job.json", ".json")).write_text(json.dumps(found))
"""


def test_a_run_that_outlives_its_comparison_is_waited_for_and_counted(run, monkeypatch, capsys):
    Path("launcher.py").write_text(OUTLIVING)
    compare = partial(compare_routings, run, ["dynamic"], 1, Path("out"))
    (killed,) = start_ranks(1, partial(compare, launcher=f"{sys.executable} launcher.py"))
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL and not Path("out/dynamic-0.json").exists()
    monkeypatch.setattr(trial, "run_alone", None)  # nothing is run again
    with pytest.raises(SystemExit) as end:
        compare(resume=True, max_time=1e-9)
    assert end.value.code == OUT_OF_TIME and not Path("out/dynamic-0.json").exists()
    monkeypatch.setattr(comparison_folder, "LOOK", 0.05)
    (row,) = compare(resume=True)
    assert (row.accuracy, row.problem) == (0.75, "") and "still goes on: waiting" in capsys.readouterr().err
    assert not Path("out/dynamic-0.job.json").exists()


def test_no_run_begins_when_the_time_is_up(run, tried, capsys):
    with pytest.raises(SystemExit) as end:
        compare_routings(run, ["dynamic"], 2, Path("out"), max_time=1e-9)
    assert end.value.code == OUT_OF_TIME and not tried and "--resume goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["dynamic:iterations"], {}, "written as NAME=VALUE; got 'iterations'"),
        (["dynamic:iteration=2"], {}, "dynamic.iteration is not an option. Did you mean 'iterations'"),
        (["dynamic:iterations=two"], {}, "dynamic.iterations must be int; got 'two'"),
        (["dynamic:iterations=0"], {}, "dynamic.iterations 0: must be at least 1"),
        (["dynamic"], {"baseline": "em"}, "--baseline em: it must be one of the routings"),
        (["dynamic"], {"resume": True, "folder": None}, "--resume goes on in --folder"),
        (["dynamic", "dynamic:iterations=3", "dynamic-iterations=3"], {}, "Unknown routing 'dynamic-iterations=3'"),
    ],
)
def test_words_that_cannot_work_are_refused_before_any_work(run, names, options, message):
    with pytest.raises(UserError, match=message):
        compare_routings(run, names, 1, **{"folder": Path("out")} | options)
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("names", "seeds", "message"),
    [
        (["dynamic", "dynamc"], 1, "Did you mean 'dynamic'"),
        ([], 1, "at least one of each"),
        (["dynamic"], 0, "at least one of each"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_any_work(run, names, seeds, message):
    with pytest.raises(UserError, match=message):
        compare_routings(run, names, seeds, Path("out"))
    assert not Path("out").exists()


def test_numbers_that_cannot_work_are_refused_before_any_work(run):
    with pytest.raises(UserError, match="--steps 0: must be at least 1"):
        compare_routings(replace(run, steps=0), ["dynamic"], 1, Path("out"))
    assert not Path("out").exists()


def test_a_comparison_is_never_overwritten_and_started_only_once(run, monkeypatch):
    Path("out").mkdir()
    with pytest.raises(UserError, match=r"Choose another folder, or go on in it with --resume\."):
        compare_routings(run, ["dynamic"], 1, Path("out"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="one process"):
        compare_routings(run, ["dynamic"], 1, Path("new"))


def test_a_comparison_becomes_a_section_of_the_page_of_results(run, monkeypatch):
    accuracies = iter([0.90, 0.91, 0.80, 0.92, 0.94, 0.82, 0.94, 0.94, 0.85])  # seed by seed
    place = {"device": "cpu: Abacus", "threads": 1, "processes": 1, "mixed_precision": "no", "commit": "abc"}
    found = {"images_per_second": 2.0, "memory": 1.0, "parameters": 1, "entropy": 0.5, "dead": None}
    found |= {"place": place, "minutes": 2.0, "calibration": 0.1}
    monkeypatch.setattr(trial, "run_alone", lambda *run: found | {"accuracy": next(accuracies)})
    monkeypatch.setattr(page, "all_in", lambda folder: [])
    names = ["dynamic", "uniform", "em:iterations=2"]
    compare_routings(run, names, 3, Path("out/tiny"), baseline="dynamic", results=Path("kept"))
    text = Path("kept.md").read_text()
    assert "### tiny\n" in text and "9 runs, 1 thread of Abacus, 18 minutes in all" in text and "commit abc." in text
    assert "Against `dynamic`, `em:iterations=2` is less accurate; `uniform` is not distinguishable." in text
    assert "accuracy is that of `uniform` (93.00%), the lowest that of `em:iterations=2` (82.33%)." in text
    assert "| +1.00 ± 2.48: not distinguishable |" in text
    assert "images/s |" not in text and Path("kept/comparisons/tiny.png").exists()
    for folder in ("out/tiny/comparison", "kept/comparisons/tiny"):
        Path(f"{folder}.png").unlink()
    comparisons.keep(Path("out/tiny"), Path("kept"))  # of a machine that could not draw
    page.write(Path("kept"))
    assert "![tiny" in text and "![tiny" not in Path("kept.md").read_text()
    Path("kept/comparisons/tiny.json").write_text('{"rows": [{}]}')
    with pytest.raises(UserError, match=r"tiny.json holds no comparison"):
        page.write(Path("kept"))
