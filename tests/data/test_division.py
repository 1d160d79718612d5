"""What is held out is the same share of every class, and no group is divided."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from test_train import RUN

from capsnet_dist import Split, UserError, datasets, load
from capsnet_dist.data.division import Division, folded, hold_out, hold_out_of_few
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.train import train
from capsnet_dist.training.splits import separate

LABELS = torch.tensor([0] * 301 + [1] * 57 + [2] * 140)[torch.randperm(498, generator=torch.Generator().manual_seed(0))]
GROUPS = torch.randint(90, (498,), generator=torch.Generator().manual_seed(1))


def test_hold_out_takes_the_same_share_of_every_class():
    labels = torch.arange(10).repeat(30)
    kept, held = hold_out(labels, 0.1)
    assert labels[held].bincount().tolist() == [3] * 10
    assert len(torch.cat([kept, held]).unique()) == 300


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["without groups", "with groups"])
def test_of_few_images_the_same_share_is_held_out_and_they_are_always_the_same(groups):
    kept, held = hold_out_of_few(LABELS, 0.2, 60, groups)
    assert LABELS[torch.cat([kept, held])].bincount().tolist() == [60, 57, 60]
    assert len(torch.cat([kept, held]).unique()) == 177
    assert all(map(torch.equal, hold_out_of_few(LABELS, 0.2, 60, groups), (kept, held)))
    if groups is None:
        assert LABELS[held].bincount().tolist() == [12, 11, 12]
    else:
        assert not {*groups[kept].tolist()} & {*groups[held].tolist()}


def test_of_images_of_several_classes_the_first_counts():
    labels = torch.stack([LABELS, (LABELS + 1) % 3], dim=1)
    assert all(map(torch.equal, hold_out_of_few(labels, 0.2, 60), hold_out_of_few(LABELS, 0.2, 60)))


def test_all_images_are_a_selection_of_more_than_there_are():
    for many in (None, 301):
        assert all(map(torch.equal, hold_out_of_few(LABELS, 0.2, many), hold_out(LABELS, 0.2)))


def test_few_training_images_leave_the_test_split_whole_and_evaluation_knows_them():
    run = replace(RUN, steps=1, images_per_class=10, batch_size=30)
    run_ranks(1, train, run)
    of = TrainedRun("run")
    parts = {name: of.part(load("run"), of.data(), name) for name in ("train", "validation", "test")}
    assert {name: len(part.labels) for name, part in parts.items()} == {"train": 90, "validation": 10, "test": 359}
    assert parts["train"].labels.bincount().tolist() == [9] * 10


def test_what_is_held_out_without_a_seed_never_changes():
    assert hold_out(torch.arange(30) % 3, 0.2)[1].tolist() == [9, 13, 14, 23, 25, 27]


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["without groups", "with groups"])
@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_are_disjoint_cover_everything_and_have_their_share_of_every_class(folds, groups):
    parts = [Division(folds=folds, fold=fold, seed=3) for fold in range(folds)]
    tested = [part.part("test", LABELS, groups) for part in parts]
    assert torch.cat(tested).sort().values.tolist() == list(range(498))
    for part, held in zip(parts, tested, strict=True):
        assert torch.cat([part.part("train", LABELS, groups), held]).sort().values.tolist() == list(range(498))
    counts = torch.stack([LABELS[held].bincount(minlength=3) for held in tested])
    spread = 1 if groups is None else 12  # as many as the largest groups
    assert (counts.amax(0) - counts.amin(0)).max() <= spread and counts.sum(1).max() - counts.sum(1).min() <= spread


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_no_group_is_on_both_sides(share):
    kept, held = hold_out(LABELS, share, GROUPS)
    assert not {*GROUPS[kept].tolist()} & {*GROUPS[held].tolist()}
    assert torch.cat([kept, held]).sort().values.tolist() == list(range(498))
    wanted = share * LABELS.bincount().double()
    assert ((LABELS[held].bincount(minlength=3) - wanted).abs() <= 3).all()
    fold = folded(LABELS, 5, GROUPS)
    assert all(len(fold[group == GROUPS].unique()) == 1 for group in GROUPS.unique())


@pytest.mark.parametrize("groups", [None, GROUPS], ids=["without groups", "with groups"])
def test_a_seed_names_one_division_and_another_seed_another(groups):
    for divide in (lambda seed: hold_out(LABELS, 0.2, groups, seed)[1], lambda seed: folded(LABELS, 5, groups, seed)):
        assert torch.equal(divide(1), divide(1)) and not torch.equal(divide(1), divide(2))


def test_one_group_of_everything_stays_whole():
    kept, held = hold_out(LABELS, 0.2, torch.zeros_like(LABELS))
    assert len(held) in (0, 498) and len(kept) + len(held) == 498


def test_a_share_of_1_tests_everything_whatever_the_folds():
    assert len(Division(share=1.0, folds=5, fold=2).part("test", LABELS)) == 498


def test_a_share_of_0_tests_nothing():
    division = Division(share=0.0)
    assert len(division.part("train", LABELS)) == 498 and not len(division.part("test", LABELS))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fold": 2}, "--data.fold 2: say of how many, --data.folds K."),
        ({"folds": 1}, "--data.folds 1: there must be at least two"),
        ({"folds": 5, "fold": 5}, "--data.fold 5: must be less than --data.folds 5, counted from 0."),
    ],
)
def test_a_fold_that_there_is_not_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Division(**options).check()


class Persons:
    """Ten images of each of eight persons, in two classes."""

    classes = ("a", "b")

    def split(self, name):
        labels = torch.arange(80) % 2
        return Split(torch.zeros(80, 1, 8, 8, dtype=torch.uint8), labels)

    def groups(self, name):
        return torch.arange(80) // 10


def test_validation_images_are_of_persons_that_are_not_trained_on(monkeypatch):
    data, parts = Persons(), []
    monkeypatch.setitem(datasets._plugins, "persons", Persons)
    monkeypatch.setattr("capsnet_dist.training.splits.separate", lambda *given: parts.append(given) or separate(*given))
    train(replace(RUN, data=datasets("persons"), validation=0.25, batch_size=4, dry_run=True, run_dir=Path("run")))
    ((whole, test, run, groups),) = parts
    assert torch.equal(groups, data.groups("train"))
    numbered = whole._replace(images=torch.arange(80).byte().reshape(80, 1, 1, 1).expand(80, 1, 8, 8))
    training, validation, _ = separate(numbered, test, replace(run, dry_run=False), groups)
    kept, held = ({*(part.images[:, 0, 0, 0] // 10).tolist()} for part in (training, validation))
    assert len(held) == 2 and not kept & held


@pytest.mark.parametrize(
    ("division", "message"),
    [
        (
            Division(0.2),
            "--data.share 0.2 leaves no test images: there are only 4. Give a larger share, or more images",
        ),
        (Division(folds=5, fold=4), "--data.fold 4 of 5 leaves no test images: there are only 4"),
    ],
)
def test_too_few_images_to_test_any_are_refused(division, message):
    for name in ("train", "test"):
        with pytest.raises(UserError, match=message):
            division.part(name, torch.tensor([0, 0, 1, 1]))
    assert len(Division(1.0).part("train", torch.tensor([0, 0, 1, 1]))) == 0
