"""`capsnet-dist runs` and `diff`: what many runs came to, and in what two of them differ."""

import json
import os
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from conftest import run_ranks
from test_cli import refused, said
from test_train import RUN, trained

from capsnet_dist import datasets, routings
from capsnet_dist.commands import demo
from capsnet_dist.config import to_dict as config_of
from capsnet_dist.demo import stage
from capsnet_dist.demo.answers import about
from capsnet_dist.record import summary


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Two runs, years apart: a short training, and what another routing and seed would have left."""
    root = tmp_path_factory.mktemp("root")
    first, second = (root / f"runs/digits/{name}" for name in ("first", "second"))
    run_ranks(1, trained, replace(RUN, steps=2, run_dir=second))
    shutil.copytree(second, first)
    file = first / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"started": "2020-01-01T00:00:00+00:00"}))
    config = json.loads((second / "config.json").read_text())
    config["run"]["seed"], config["run"]["model"]["routing"] = 7, config_of(routings("uniform"))
    (second / "config.json").write_text(json.dumps(config))
    return root


@pytest.fixture
def root(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "copy")


def listed(root):
    code, out, err = said("runs", root / "runs", "--json")
    return json.loads(out), code, err


def test_runs_are_listed_newest_first_with_what_came_of_them(root):
    found, code, err = listed(root)
    assert (code, err) == (0, "")
    assert [Path(run["folder"]).name for run in found] == ["second", "first"]
    for run in found:
        lines = [json.loads(line) for line in (Path(run["folder"]) / "metrics.jsonl").read_text().splitlines()]
        assert run["accuracy"] == next(line["accuracy"] for line in lines if line.get("weights") == "selected")
        assert (run["model"], run["data"], run["state"]) == ("capsnet", "digits", "done") and run["seconds"] >= 0
    assert [run["seed"] for run in found] == [7, 0]
    lines = said("runs", root / "runs")[1].splitlines()
    assert lines[0].split()[:6] == ["run", "network", "data", "seed", "state", "accuracy"] and len(lines) == 3


def test_the_validation_accuracy_is_that_of_the_selected_weights_and_not_the_last(root):
    file = root / "runs/digits/second/metrics.jsonl"
    first, *rest = file.read_text().splitlines(keepends=True)
    evaluation = '{"step": 1, "split": "validation", "weights": "ema", "accuracy": %s, "loss": 1.0}\n'
    file.write_text(first + evaluation % 0.75 + evaluation % "0.9, " + first * 1000 + "".join(rest))
    assert max(json.loads(line)["accuracy"] for line in rest if '"validation"' in line) < 0.75
    assert listed(root)[0][0]["validation"] == 0.75  # beyond the end that is parsed; the damaged line does not count
    file.write_text(first)
    assert listed(root)[0][0]["validation"] is None


def test_the_page_of_a_run_says_on_what_and_how_well_it_was_trained(root, monkeypatch):
    monkeypatch.setattr(stage, "SECONDS", 0)
    folder = root / "runs/digits/second"
    (facts,) = about([demo.stage_of(str(folder), datasets("digits"), needs_images=True)])["runs"]
    assert (facts["data"], facts["routing"]) == ("digits", "dynamic")
    assert facts["accuracy"] == pytest.approx(summary.summarize(folder).accuracy, abs=1e-5)
    (folder / "metrics.jsonl").unlink()
    (facts,) = about([demo.stage_of(str(folder), datasets("digits"), needs_images=True)])["runs"]
    assert facts["accuracy"] is None


def test_a_run_that_says_running_while_nobody_writes_was_killed(root):
    folder = root / "runs/digits/second"
    (folder / "STATUS.json").write_text('{"state": "running", "reason": ""}')
    assert listed(root)[0][0]["state"] == "killed"
    import fcntl

    with (folder / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert listed(root)[0][0]["state"] == "running"


def test_times_are_those_that_the_run_has_written_and_not_those_of_files(root):
    expected = listed(root)[0]
    file = root / "runs/digits/second/environment.json"
    place = json.loads(file.read_text())
    written = os.stat(file.parent / "STATUS.json").st_mtime
    assert abs(datetime.fromisoformat(place["until"]).timestamp() - written) < 2
    place |= {"started": "2026-03-01T10:00:00+00:00", "until": "2026-03-01T10:01:30+00:00"}
    file.write_text(json.dumps(place))
    for copied in file.parent.iterdir():
        os.utime(copied, (0, 0))
    assert listed(root)[0][0]["seconds"] == 90.0 and expected[0]["seconds"] < 600
    del place["until"]  # as earlier versions wrote it
    file.write_text(json.dumps(place))
    moment = datetime.fromisoformat(place["started"]).timestamp() + 7
    os.utime(file.parent / "metrics.jsonl", (moment, moment))
    assert listed(root)[0][0]["seconds"] == 7.0


def test_a_damaged_run_is_one_line_and_the_others_are_listed(root):
    (root / "runs/digits/second/config.json").write_text("{")
    (root / "runs/other").mkdir()
    (root / "runs/other/config.json").write_text("{}")  # another program's
    (root / "runs/other/metrics.jsonl").touch()
    found, code, err = listed(root)
    assert code == 0 and [Path(run["folder"]).name for run in found] == ["first"]
    assert err.startswith("Error: ") and "second/config.json cannot be read as JSON" in err and err.count("\n") == 1


def test_of_long_metrics_only_the_end_is_read(root, monkeypatch):
    file = root / "runs/digits/second/metrics.jsonl"
    expected = listed(root)[0]
    with file.open("rb+") as lines:
        rest = lines.read()
        lines.seek(0)
        lines.write(b'{"step": 1, "split": "train"}\n' * 10_000 + rest)
    monkeypatch.setattr(summary, "TAIL", 3000)
    assert [run["accuracy"] for run in listed(root)[0]] == [run["accuracy"] for run in expected]
    monkeypatch.setattr(summary, "TAIL", 10)
    assert listed(root)[0][0]["accuracy"] is None


def test_of_plugins_that_differ_the_files_are_named(root):
    first, second = (root / f"runs/digits/{name}" for name in ("first", "second"))
    for folder, other in ((first, "1"), (second, "2")):
        config = json.loads((folder / "config.json").read_text())
        files = {"same.py": 64 * "0", "other.py": 64 * other}
        config["imports"] = [{"import": "same.py", "folder": "plugins", "files": files}]
        (folder / "config.json").write_text(json.dumps(config))
    found = json.loads(said("diff", first, second, "--json")[1])
    name = "configuration imports.plugins/other.py"
    assert {key: found[key] for key in found if "imports" in key} == {
        name: {"first": "sha256 111111111111", "second": "sha256 222222222222"}
    }


def test_two_runs_differ_in_what_they_were_told_and_what_came_of_it(root):
    first, second = (root / f"runs/digits/{name}" for name in ("first", "second"))
    code, out, err = said("diff", first, second, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["configuration run.seed"] == {"first": 0, "second": 7}
    assert found["configuration run.model.routing.name"] == {"first": "dynamic", "second": "uniform"}
    assert found["configuration run.model.routing.iterations"] == {"first": 3, "second": None}
    assert not [key for key in found if "torch" in key or "run.lr" in key or "started" in key]
    assert "configuration run.seed" in said("diff", first, second)[1]
    assert json.loads(said("diff", first, first, "--json")[1]) == {}
    Path("empty").mkdir()
    assert "empty is not the folder of a run" in refused("diff", first, "empty")
    assert "There is no folder absent" in refused("runs", "absent")
