"""The checker on what trainings are made of: plugins built in obey the laws, and each mistake breaks its own."""

from pathlib import Path

import pytest
import test_networks_matrix
import test_networks_vector
from mutants_training import (
    AUGMENTATIONS,
    DATASETS,
    MODELS,
    SCHEDULES,
    TOGETHER,
    HonestAugmentation,
    HonestDataset,
    HonestMixture,
    HonestModel,
    HonestSchedule,
    SplitFails,
)
from PIL import Image
from published_sets import tiny
from test_cli import said

from capsnet_dist import UserError, augmentations, datasets, models, schedules
from capsnet_dist.testing import (
    augmentation,
    check_augmentation,
    check_dataset,
    check_model,
    check_schedule,
    check_target,
    dataset,
    model,
    schedule,
)

CHAIN = tuple(map(augmentations, ("affine", "flip", "mixup")))
OPTIONS = {
    "crop": {"side": 24, "padding": 1, "tested": "diagonals"},
    "resized_crop": {"side": 9},
    "affine": {"translation": 2.5},
    "erase": {"share": 0.5},
    "chain": {"parts": CHAIN},
}
"""Options that show more than the default ones."""


@pytest.mark.parametrize("name", list(augmentations))
def test_registered_augmentations_obey_the_laws(name):
    report = check_augmentation(augmentations(name, **OPTIONS.get(name, {})))
    assert {result.status for result in report.results} <= {"passed", "skipped"}


@pytest.mark.parametrize("name", list(schedules))
def test_registered_schedules_obey_the_laws(name):
    report = check_schedule(schedules(name))
    assert {result.status for result in report.results} == {"passed"}


NETWORKS = {**test_networks_vector.SMALL, **test_networks_matrix.SMALL}
NETWORKS["capsnet"] = dict(channels=4, kernel=5, primary_types=2, primary_kernel=5)


@pytest.mark.parametrize("name", list(models))
def test_registered_networks_obey_the_laws(name):
    assert not check_model(models(name, **NETWORKS[name]), image=(1, 20, 20)).failed


@pytest.mark.parametrize("name", list(datasets))
def test_registered_data_sets_obey_the_laws(name, monkeypatch):
    report = check_dataset(tiny(name, monkeypatch))
    assert {result.status for result in report.results} == {"passed"}


@pytest.mark.parametrize(
    ("check", "honest"),
    [
        (check_augmentation, HonestAugmentation),
        (check_augmentation, HonestMixture),
        (check_schedule, HonestSchedule),
        (check_model, HonestModel),
        (check_dataset, HonestDataset),
    ],
)
def test_an_honest_plugin_passes_everything(check, honest):
    assert {result.status for result in check(honest).results} <= {"passed", "skipped"}


CASES = [
    pytest.param(check, *case, id=f"{case[0].__name__}-{case[1]}")
    for check, cases in ((check_augmentation, AUGMENTATIONS), (check_schedule, SCHEDULES), (check_dataset, DATASETS))
    for case in cases
]


@pytest.mark.parametrize(("check", "mutant", "law", "words"), CASES)
def test_a_mistake_breaks_the_law_that_is_meant_for_it_and_no_other(check, mutant, law, words):
    results = {r.name: r for r in check(mutant, on_fail="report").results if r.status not in ("passed", "skipped")}
    assert words in results[law].message
    assert results.keys() == {law} | TOGETHER.get(mutant, set())


@pytest.mark.parametrize(("mutant", "law", "words"), MODELS, ids=[f"{m.__name__}-{law}" for m, law, _ in MODELS])
def test_a_mistake_in_a_network_is_caught(mutant, law, words):
    (result,) = check_model(mutant, image=(1, 8, 8), only=[law], on_fail="report").results
    assert result.status in ("failed", "noted")
    assert words in result.message


@pytest.mark.parametrize(
    ("laws", "cases"),
    [(augmentation.LAWS, AUGMENTATIONS), (schedule.LAWS, SCHEDULES), (model.LAWS, MODELS), (dataset.LAWS, DATASETS)],
    ids=["augmentation", "schedule", "model", "dataset"],
)
def test_every_law_has_caught_something(laws, cases):
    assert {law.name for law in laws} <= {law for _, law, _ in cases}


def test_every_law_is_in_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    laws = (*augmentation.LAWS, *schedule.LAWS, *model.LAWS, *dataset.LAWS)
    assert [law.name for law in laws if f"`{law.name}`" not in guide] == []


def test_a_data_set_that_is_here_is_checked_and_of_another_a_line_says_why_not():
    assert not check_target("digits").failed
    with pytest.raises(UserError, match="^Data set folder cannot be checked here: .*root"):
        check_dataset(datasets("folder"))
    with pytest.raises(UserError, match="^Data set Npz cannot be checked here: data.npz is not there"):
        check_target("capsnet_dist.data.npz:Npz")  # whose classes are those of its file


def test_a_law_that_comes_after_one_that_failed_is_not_tried():
    split_fails = {result.name: result for result in check_dataset(SplitFails, on_fail="report").results}
    assert split_fails["evaluation_repeats"].status == "skipped"
    assert split_fails["evaluation_repeats"].message == "splits_can_be_trained_on comes first"
    (alone,) = check_dataset(SplitFails, only=["evaluation_repeats"], on_fail="report").results
    assert alone.status == "failed" and "LookupError" in alone.message


def test_a_data_set_is_checked_with_its_options(tmp_path, monkeypatch):
    for name in ("cat", "dog"):
        for number in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            Image.new("L", (4, 4), 9 * number).save(tmp_path / name / f"{number}.png")
    monkeypatch.setenv("HOME", str(tmp_path.with_name("home")))  # where the pixels are kept
    options = ["--data.root", tmp_path, "--data.size", 4]
    for words in (["folder"], ["dataset/folder"], ["--data", "folder"]):
        code, out, err = said("check", *words, *options)
        assert code == 0 and not err and "rows_by_number_equal_rows_in_bulk  passed" in " ".join(out.split(" "))
    code, _, err = said("check", "cosine", "--data", "folder", *options)
    assert code == 2 and "cosine and --data folder: only one is checked at a time" in err


def test_a_plugin_is_found_by_its_name_or_by_its_kind_and_name():
    assert check_target("mutants_training:HonestModel", only=["output_fits"]).kind == "model"
    assert check_target("cosine", only=["some_step_learns"]).kind == "schedule"
    assert check_target("augmentation/hvc", only=["draws_decide"]).kind == "augmentation"
    assert check_target("capsnet_dist.optim.schedules:Warmup", only=["some_step_learns"]).kind == "schedule"
    assert check_target("capsnet_dist.data.augment:Shift", only=["draws_decide"]).kind == "augmentation"
    with pytest.raises(
        UserError, match="several plugins: loss and augmentation. Say which: loss/none or augmentation/"
    ):
        check_target("none")
    with pytest.raises(UserError, match="no schedule is called 'schedule/cosin'. .*Did you mean 'cosine'?"):
        check_target("schedule/cosin")
