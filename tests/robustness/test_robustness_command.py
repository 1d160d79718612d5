"""`capsnet-dist robustness`: tables, JSON, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import run_ranks
from test_cli import refused, said
from test_train import RUN, trained

from capsnet_dist import Split, build, datasets, load, models, save
from capsnet_dist.robustness.report import TITLES
from capsnet_dist.robustness.transformations import ALL, transformations
from capsnet_dist.robustness.trial import Trial, augmented

TINY = {"channels": 4, "kernel": 3, "primary_types": 2, "primary_kernel": 3}
FEW = ("--limit", "6", "--steps", "2", "--queries", "3", "--eps", "0", "0.3")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("robustness") / "run"
    run_ranks(1, trained, replace(RUN, steps=1, run_dir=folder))
    return folder


def test_the_tables_say_what_the_file_says(run):
    code, out, _ = said("robustness", run, *FEW, "--targeted", "--transfer", run)
    assert code == 0, out
    found = json.loads((run / "robustness" / "robustness.json").read_text())
    parts = [part for part in out.split("\n\n") if part.startswith(tuple(TITLES.values()))]
    sections = dict(zip(TITLES, parts, strict=True))
    for row in found["rows"]:
        line = next(line for line in sections[row["kind"]].splitlines() if line.startswith(row["name"]))
        assert f"{100 * row['share']:.1f}" in line
    assert {file.name for file in (run / "robustness").iterdir()} == {"robustness.json", "robustness.png", "images.png"}
    assert found["findings"] and all(line in out for line in found["findings"])
    assert {row["kind"] for row in found["rows"]} == set(TITLES)
    assert f"{100 * found['accuracy']:.1f} % of 6 of 359 images are right unchanged" in out
    assert all(
        row["share"] == found["accuracy"] for row in found["rows"] if row["kind"] == "attack" and not row["level"]
    )


def test_json_is_that_of_the_file_and_kinds_and_folder_can_be_chosen(run, tmp_path):
    code, out, _ = said("robustness", run, *FEW, "--kinds", "transformations", "--out", tmp_path / "own", "--json")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "own" / "robustness.json").read_text())
    rows = [row for row in json.loads(out)["rows"] if row["kind"] == "transformation"]
    assert [row["name"] for row in rows] == list(transformations())


def test_what_cannot_be_tried_is_refused(run, tmp_path):
    (tmp_path / "taken").write_text("")
    assert "taken" in refused("robustness", run, *FEW, "--kinds", "transformations", "--out", tmp_path / "taken")
    assert "--eps 2.0: must be from 0 to 1" in refused("robustness", run, "--eps", "2")
    save(build(models("capsnet", **TINY), (1, 8, 8), ("a", "b")), tmp_path / "two")
    assert "it is for 1x8x8: a, b; this network for" in refused("robustness", run, *FEW, "--transfer", tmp_path / "two")
    assert "--limit" in said("robustness", run, "--limit", "0")[2]


def test_a_folder_that_takes_no_files_is_refused_before_the_images_are_tried(run, tmp_path, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setattr("capsnet_dist.commands.robustness.measure", lambda *given: pytest.fail("tried"))
    assert "taken cannot be written" in refused("robustness", run, *FEW, "--out", tmp_path / "taken")


def test_transformations_follow_from_the_seed_and_the_number_of_an_image_alone(run):
    test = datasets("digits").build().split("test")
    change = augmented(transformations()[ALL], 3)
    images, numbers = test.images[:8], torch.arange(8)
    together = change(images, numbers)
    assert torch.equal(together[5:6], change(images[5:6], numbers[5:6])) and not torch.equal(together, images)
    assert not torch.equal(together, augmented(transformations()[ALL], 4)(images, numbers))
    for name, one in transformations().items():
        assert not torch.equal(augmented(one, 3)(images, numbers), images), name


def test_unchanged_images_have_the_accuracy_of_an_evaluation(run):
    model, test = load(run), datasets("digits").build().split("test")
    tried = Trial(model, test, torch.arange(len(test.labels)), batch_size=50)
    found = tried.changed(lambda images, numbers: images)
    assert torch.equal(found.right, model.predict(test.images).labels == test.labels)
    assert isinstance(test, Split) and found.shown.shape == (10, 1, 8, 8)
