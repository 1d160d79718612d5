"""Rejecting what is not rebuilt: the curve is that of counting pairs, and only networks with a decoder reject."""

import statistics
from dataclasses import replace

import pytest
import torch
from test_attacks import Linear, trial

from capsnet_dist import Output
from capsnet_dist.analysis.comparison import ROBUSTNESS, Row, table_of
from capsnet_dist.robustness.measure import Plan, measure
from capsnet_dist.robustness.rejection import roc, threshold, unexplained
from capsnet_dist.robustness.report import MEAN, rows
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
    found = [Row("dynamic", 1, 0.9, transformed=0.5, corrupted=0.25, attacked=0.0), Row("em", 0, problem="failed")]
    first, second = table_of(found, "routing", "dynamic")
    assert [first[f"{name}, %"] for name in ROBUSTNESS] == ["50.0", "25.0", "0.0"]
    assert {second[f"{name}, %"] for name in ROBUSTNESS} == {"–"}
    assert "attacked, %" not in table_of([Row("dynamic", 1, 0.9)], "routing", "dynamic")[0]
