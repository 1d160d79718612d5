"""Attacks find what is known of a linear network, stay within eps and [0, 1], and leave the network as it was."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import nn

from capsnet_dist import Model, Output, Split, models
from capsnet_dist.robustness.attacks import Victims, fgsm, other_classes, pgd
from capsnet_dist.robustness.black_box import square
from capsnet_dist.robustness.masking import PGD, SQUARE, TRANSFER, flat_gradients
from capsnet_dist.robustness.measure import Plan, measure
from capsnet_dist.robustness.summary import summarized
from capsnet_dist.robustness.trial import Trial, chosen

ATTACKS = {"fgsm": fgsm, "pgd": pgd, "square": square}
WHITE = {"fgsm": fgsm, "pgd": pgd}


class Linear(Model):
    """Scores that are linear in the pixels."""

    def __init__(self, image, classes):
        super().__init__(image, classes)
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(classes, image[1] * image[2], generator=generator))

    def forward(self, images, labels=None):
        scores = rearrange(images, "b 1 h w -> b (h w)") @ self.weight.T
        return Output(scores, rearrange(scores, "b j -> b j 1"), None)


def trial(model, number=40, batch_size=128):
    """Random images of the model's size with the labels that it gives them."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (number, *model.image), dtype=torch.uint8, generator=generator)
    labels = model.predict(images).labels
    return Trial(model, Split(images, labels), torch.arange(number) + 7, batch_size=batch_size)


def victims(tried):
    return Victims(tried.split.images / 255, tried.split.labels, tried.numbers)


def least_margin(model, images, label, eps):
    """Of two classes: by how much the true score is ahead at the worst image within eps that is an image."""
    slope = model.weight[label] - model.weight[1 - label]
    pixels = images.flatten()
    worst = torch.where(slope > 0, (pixels - eps).clamp(min=0), (pixels + eps).clamp(max=1))
    return (slope @ worst).item()


@pytest.mark.parametrize("attack", WHITE.values(), ids=WHITE)
@pytest.mark.parametrize("eps", [0.02, 0.05, 0.1])
def test_attacks_succeed_on_a_linear_network_where_any_image_within_eps_does(attack, eps):
    model = Linear((1, 6, 6), 2)
    tried = trial(model)
    found = tried.attacked(lambda scores, some: attack(scores, some, eps))
    known = [least_margin(model, *pair, eps) > 0 for pair in zip(*victims(tried)[:2], strict=True)]
    assert found.right.tolist() == known and 0 < sum(known) < 40


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_attack_makes_an_image_right_that_is_wrong(attack):
    tried = trial(Linear((1, 6, 6), 3))
    wrong = replace(tried, split=tried.split._replace(labels=(tried.split.labels + 1) % 3))
    assert not wrong.attacked(lambda scores, some: attack(scores, some, 0.5)).right.any()
    helped = wrong.attacked(lambda scores, some: attack(scores, some._replace(is_targeted=True), 0.5))
    assert not helped.right.any()  # as an attack might that overshoots


def test_steps_go_on_past_a_place_where_the_scores_are_no_numbers():
    some = victims(trial(Linear((1, 6, 6), 2), number=8))
    calls = []

    def scores(images):
        calls.append(len(images))
        ahead = torch.nn.functional.one_hot(some.labels[: len(images)], 2).float() + 0 * images.sum()
        return ahead * torch.nan if len(calls) == 1 else ahead

    pgd(scores, some, 0.1, steps=3)
    assert calls == [8, 8, 8, 8]


def test_one_step_lowers_a_linear_margin_by_eps_times_the_sum_of_the_slopes():
    model = Linear((1, 6, 6), 2)
    first = torch.zeros(1, dtype=torch.int64)
    middle = Victims(torch.full((1, 1, 6, 6), 0.5), first, first)
    attacked = fgsm(trial(model).scores, middle, 0.1)
    before, after = (middle.lead(model(images).scores) for images in (middle.images, attacked))
    expected = 0.1 * (model.weight[1] - model.weight[0]).abs().sum()
    torch.testing.assert_close(after - before, expected[None])


def test_eps_is_of_pixels_before_they_are_normalized():
    plain, normalized = Linear((1, 6, 6), 2), Linear((1, 6, 6), 2)
    normalized.normalize_pixels(
        "symmetric"
    )  # 2 x - 1: twice the slopes, and a constant that is the same for all images
    with torch.no_grad():
        normalized.weight.mul_(0.5)
    middle = victims(trial(plain))
    found = [fgsm(trial(model).scores, middle, 0.03) for model in (plain, normalized)]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_eps_of_zero_changes_nothing(attack):
    tried = trial(models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3).build((1, 8, 8), 3), 5)
    given = victims(tried)
    with tried.model.evaluating():
        assert torch.equal(attack(tried.scores, given, 0.0), given.images)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.parametrize("is_targeted", [False, True])
def test_attacked_images_are_images_within_eps(attack, is_targeted):
    model = Linear((1, 6, 6), 4)
    given = victims(trial(model))._replace(is_targeted=is_targeted)
    given = given._replace(labels=(given.labels + is_targeted) % 4)
    found = attack(trial(model).scores, given, 0.1)
    assert found.min() >= 0 and found.max() <= 1 and (found - given.images).abs().max() <= 0.1 + 1e-6
    assert attack is square or (given.lead(model(found).scores) >= given.lead(model(given.images).scores) - 1e-5).all()


def test_targeted_attacks_reach_their_class_where_eps_allows_any_image():
    tried = trial(Linear((1, 6, 6), 4))
    assert tried.attacked(lambda scores, some: pgd(scores, some, 1.0), seed=0).share == 1
    assert tried.attacked(lambda scores, some: some.images, seed=0).share == 0


def test_every_other_class_is_aimed_at_and_never_the_own():
    labels = torch.arange(4).repeat(500)
    found = other_classes(labels, torch.rand(2000, generator=torch.Generator().manual_seed(0)), 4)
    counts = (labels * 4 + found).bincount(minlength=16).reshape(4, 4)
    assert counts.diagonal().sum() == 0 and counts[~torch.eye(4, dtype=torch.bool)].min() > 120


def test_more_starts_find_at_least_as_much_and_batches_do_not_matter():
    model = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3).build((1, 8, 8), 3)

    def withstands(batch_size, restarts):
        def attack(scores, some):
            return pgd(scores, some, 0.02, steps=3, restarts=restarts, seed=5)

        return trial(model, 12, batch_size).attacked(attack).right

    once = withstands(12, 1)
    assert torch.equal(once, withstands(5, 1)) and not (withstands(12, 3) & ~once).any()


def test_an_attack_leaves_weights_modes_and_gradients_as_they_were():
    model = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3).build((1, 8, 8), 3).train()
    frozen = next(model.parameters()).requires_grad_(False)
    trial(model, 4).attacked(lambda scores, some: fgsm(scores, some, 0.1))
    assert model.training and not frozen.requires_grad
    assert all(one.requires_grad and one.grad is None for one in model.parameters() if one is not frozen)


def test_images_of_two_objects_are_fooled_when_either_is_missed():
    scores = torch.tensor([[0.9, 0.5, 0.4], [0.9, 0.3, 0.4]])
    some = Victims(torch.zeros(2, 1, 1, 1), torch.tensor([[0, 1], [0, 1]]), torch.arange(2))
    torch.testing.assert_close(some.lead(scores), torch.tensor([-0.1, 0.1]))


def test_images_are_chosen_from_the_whole_split_and_the_same_again():
    split = Split(torch.zeros(100, 1, 1, 1, dtype=torch.uint8), torch.zeros(100, dtype=torch.int64))
    some = chosen(split, 10, 3)
    assert torch.equal(some, chosen(split, 10, 3)) and len(set(some.tolist())) == 10 and some.max() > 50
    assert torch.equal(chosen(split, 1000, 3), torch.arange(100))


def reported(tried, plan, other=None):
    return summarized(measure(tried, plan, other), {}, flat_gradients(tried))


class Rounded(Linear):
    """The same scores, from pixels in ten shades: their gradient is zero wherever there is one."""

    def forward(self, images, labels=None):
        return super().forward((10 * images).round() / 10)


def test_masked_gradients_are_found_out_by_the_attack_that_sees_none():
    tried = trial(Rounded((1, 6, 6), 2), 20)
    assert flat_gradients(tried) == ["The gradient is zero at 20 of 20 images: FGSM does not move them."]
    report = reported(tried, Plan(("attacks",), (0.1,), steps=3))
    shares = {row.name: row.share for row in report.rows}
    assert shares[PGD] > shares[SQUARE] == shares["all attacks"]
    assert any("The white-box attack is weaker: gradients are masked" in line for line in report.findings)


def test_honest_gradients_show_no_sign_of_masking():
    report = reported(trial(Linear((1, 6, 6), 2)), Plan(("attacks",), (0.05,), queries=50))
    assert len(report.findings) == 1 and report.findings[0].endswith("no sign of masked gradients.")


def test_what_fools_a_network_fools_its_twin_and_not_one_that_knows_better():
    model, other = Linear((1, 6, 6), 2), Linear((1, 6, 6), 2)
    tried = trial(model)
    plan = Plan(("attacks",), (0.1,), queries=0)
    shares = {row.name: row.share for row in reported(tried, plan, replace(tried, model=other)).rows}
    assert shares[TRANSFER] == shares[PGD] < 1
    with torch.no_grad():
        other.weight.neg_()  # what it takes for an attack is the contrary
    shares = {row.name: row.share for row in reported(tried, plan, replace(tried, model=other)).rows}
    assert shares[TRANSFER] == 1
