"""Rejecting what is not rebuilt: the curve is that of counting pairs, and only networks with a decoder reject."""

import statistics
from dataclasses import replace

import pytest
import torch
from test_attacks import Linear, trial

from capsnet_dist import Output, UserError, datasets
from capsnet_dist.analysis import comparison
from capsnet_dist.analysis.comparison_table import table_of
from capsnet_dist.robustness.foreign import look_at_foreign
from capsnet_dist.robustness.measure import Plan, measure
from capsnet_dist.robustness.rejection import roc, threshold, unexplained
from capsnet_dist.robustness.report import MEAN, Row, rows
from capsnet_dist.robustness.short import PLAN, in_short
from capsnet_dist.robustness.summary import summarized


def test_the_area_under_the_curve_counts_pairs_in_which_the_changed_image_has_the_larger_error():
    generator = torch.Generator().manual_seed(0)
    unchanged, changed = (torch.randint(6, (n,), generator=generator) + shift for n, shift in ((30, 0.0), (20, 2.0)))
    pairs = (changed[:, None] > unchanged).double() + 0.5 * (changed[:, None] == unchanged)
    found = roc(unchanged, changed)
    assert found.area == pytest.approx(pairs.mean().item(), abs=1e-6)
    assert [one[[0, -1]].tolist() for one in found] == [[0, 1], [0, 1]]
    assert roc(unchanged, unchanged).area == pytest.approx(0.5) and roc(unchanged, unchanged + 10).area == 1


def test_the_memory_of_a_curve_does_not_grow_with_pairs():
    errors = torch.linspace(0, 1, 200_000)
    assert roc(errors, errors).area == pytest.approx(0.5, abs=1e-4)


def test_one_unchanged_image_in_twenty_is_rejected():
    errors = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert (errors > threshold(errors)).sum() == 50


def test_what_is_not_rebuilt_is_a_mean_of_squares():
    images, rebuilt = torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), 0.5)
    assert unexplained(images, rebuilt).tolist() == [0.25, 0.25]


class Smooth(Linear):
    """A network that rebuilds any image as one shade, its mean."""

    def forward(self, images, labels=None):
        scores, poses, _ = super().forward(images, labels)
        return Output(scores, poses, images.mean(dim=(1, 2, 3), keepdim=True).expand_as(images))


def test_attacks_on_smooth_images_are_told_apart_by_what_is_not_rebuilt():
    tried = trial(Smooth((1, 6, 6), 2))
    tried.split.images[:] = torch.arange(40, dtype=torch.uint8)[:, None, None, None] + 100  # of one shade each
    tried.split.labels[:] = tried.model.predict(tried.split.images).labels
    report = summarized(measure(tried, Plan(("attacks",), (0.1,), queries=0)), {})
    told = {row.name: row.share for row in report.rows if row.kind == "told apart"}
    assert told == {"FGSM, eps 0.1": 1.0, "PGD, eps 0.1": 1.0}
    let = [row.share for row in report.rows if row.kind == "let through"]
    assert let == [0.0, 0.0] and any(row.share < 1 for row in report.rows if row.kind == "attack")


def test_networks_without_a_decoder_reject_nothing():
    report = summarized(measure(trial(Linear((1, 6, 6), 2)), Plan(("attacks",), (0.1,), queries=0)), {})
    assert {row.kind for row in report.rows} == {"attack"}


def test_three_numbers_are_those_of_the_tables():
    tried = trial(Linear((1, 12, 12), 4), 8)
    found = in_short(tried.model, tried.split, tried.still, 8)
    tables = rows(measure(replace(tried, numbers=torch.arange(8)), PLAN))
    whole = {row.name: row.share for row in tables}
    assert found["transformed"] == whole["all, as affNIST"] and found["attacked"] == whole["all attacks"]
    assert found["corrupted"] == pytest.approx(statistics.fmean(row.share for row in tables if row.name == MEAN))


def test_the_table_of_a_comparison_has_columns_for_robustness_where_it_was_measured():
    found = [
        comparison.Row("dynamic", 1, 0.9, transformed=0.5, corrupted=0.25, attacked=0.0),
        comparison.Row("em", 0, problem="failed"),
    ]
    first, second = table_of(found, "routing", "dynamic")
    assert [first[f"{name}, %"] for name in comparison.ROBUSTNESS] == ["50.0", "25.0", "0.0"]
    assert {second[f"{name}, %"] for name in comparison.ROBUSTNESS} == {"–"}
    assert "attacked, %" not in table_of(found[1:], "routing", "dynamic")[0]


def test_images_of_another_data_set_are_told_apart_and_must_have_the_same_size():
    tried = trial(Smooth((1, 8, 8), 2), 10)
    shades = torch.arange(10, dtype=torch.uint8)[:, None, None, None]  # which this network rebuilds, other than digits
    tried = replace(tried, split=tried.split._replace(images=shades.expand(10, 1, 8, 8)))
    found = measure(tried, Plan(())) | look_at_foreign(tried, "digits", datasets("digits"), 0)
    (row,) = summarized(found, {}).rows
    assert row == Row("told apart", "images of digits", None, 1.0)
    with pytest.raises(UserError, match="--foreign digits: its images are 1x8x8; the network takes 1x6x6"):
        look_at_foreign(trial(Smooth((1, 6, 6), 2)), "digits", datasets("digits"), 0)
    with pytest.raises(UserError, match="--foreign digits: it takes a network that rebuilds images of one object"):
        look_at_foreign(trial(Linear((1, 8, 8), 2)), "digits", datasets("digits"), 0)
