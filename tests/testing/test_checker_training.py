"""The checker on augmentations and schedules: those that are built in obey the laws, each mistake breaks its own."""

from pathlib import Path

import pytest
from mutants_training import AUGMENTATIONS, SCHEDULES, TOGETHER, HonestAugmentation, HonestMixture, HonestSchedule

from capsnet_dist import UserError, augmentations, schedules
from capsnet_dist.testing import augmentation, check_augmentation, check_schedule, check_target, schedule

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


@pytest.mark.parametrize(
    ("check", "honest"),
    [
        (check_augmentation, HonestAugmentation),
        (check_augmentation, HonestMixture),
        (check_schedule, HonestSchedule),
    ],
)
def test_an_honest_plugin_passes_everything(check, honest):
    assert {result.status for result in check(honest).results} <= {"passed", "skipped"}


CASES = [
    pytest.param(check, *case, id=f"{case[0].__name__}-{case[1]}")
    for check, cases in ((check_augmentation, AUGMENTATIONS), (check_schedule, SCHEDULES))
    for case in cases
]


@pytest.mark.parametrize(("check", "mutant", "law", "words"), CASES)
def test_a_mistake_breaks_the_law_that_is_meant_for_it_and_no_other(check, mutant, law, words):
    results = {r.name: r for r in check(mutant, on_fail="report").results if r.status not in ("passed", "skipped")}
    assert words in results[law].message
    assert results.keys() == {law} | TOGETHER.get(mutant, set())


@pytest.mark.parametrize(
    ("laws", "cases"),
    [(augmentation.LAWS, AUGMENTATIONS), (schedule.LAWS, SCHEDULES)],
    ids=["augmentation", "schedule"],
)
def test_every_law_has_caught_something(laws, cases):
    assert {law.name for law in laws} <= {law for _, law, _ in cases}


def test_every_law_is_in_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    assert [law.name for law in (*augmentation.LAWS, *schedule.LAWS) if f"`{law.name}`" not in guide] == []


def test_a_plugin_is_found_by_its_name_or_by_its_kind_and_name():
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
