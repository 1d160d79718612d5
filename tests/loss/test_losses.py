"""Losses: each against a loop over samples and classes, at its ends, and refusing what makes no sense."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsnet_dist import Output, UserError, losses
from capsnet_dist.loss import NoLoss
from capsnet_dist.training.objective import weigh

FEW = settings(max_examples=20, deadline=None)


def relu(value):
    return value if value > 0 else 0 * value


def margin(scores, labels, progress, high=0.9, low=0.1, absent=0.5):
    total = 0.0
    for row, label in zip(scores, labels, strict=True):
        for k, length in enumerate(row):
            total = total + (relu(high - length) ** 2 if k == label else absent * relu(length - low) ** 2)
    return total / len(labels)


def spread(scores, labels, progress):
    m = 0.2 + 0.79 * torch.tensor(min(10, progress * 2_000_000 / 50_000 - 4), dtype=torch.float64).sigmoid()
    total = 0.0
    for row, label in zip(scores, labels, strict=True):
        for k, score in enumerate(row):
            total = total + (relu(m - (row[label] - score)) ** 2 if k != label else 0)
    return total / len(labels)


def cross_entropy(scores, labels, progress, smoothing=0.0):
    total = 0.0
    for row, label in zip(scores, labels, strict=True):
        logarithm = sum(score.exp() for score in row).log()
        for k, score in enumerate(row):
            target = smoothing / len(row) + (1 - smoothing if k == label else 0)
            total = total + target * (logarithm - score)
    return total / len(labels)


def negative_log_likelihood(scores, labels, progress):
    return sum(-(row[label] + 1e-6).log() for row, label in zip(scores, labels, strict=True)) / len(labels)


CASES = [
    (losses("margin"), margin),
    (losses("margin", positive=0.8, negative=0.3, absent=0.7), lambda *given: margin(*given, 0.8, 0.3, 0.7)),
    (losses("margin", hard_after=0.0), lambda s, y, p: margin(s, y, p, 0.95, 0.05, 0.8) if p else margin(s, y, p)),
    (losses("spread"), spread),
    (losses("cross_entropy"), cross_entropy),
    (losses("cross_entropy", smoothing=0.3), lambda *given: cross_entropy(*given, smoothing=0.3)),
    (losses("negative_log_likelihood"), negative_log_likelihood),
]


def output(scores, reconstruction=None):
    return Output(scores, torch.zeros(*scores.shape, 1, dtype=scores.dtype), reconstruction)


def loss_of(choice, scores, labels, progress=0.0):
    images = torch.zeros(len(labels), 1, 1, 1, dtype=scores.dtype)
    terms = choice.build()(output(scores), images, labels, progress)
    assert list(terms) == [choice.name]
    return terms[choice.name]


@st.composite
def batches(draw):
    size, classes = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    length = st.floats(0, 1, width=32)
    rows = draw(st.lists(st.lists(length, min_size=classes, max_size=classes), min_size=size, max_size=size))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    return torch.tensor(rows, dtype=torch.float64), torch.tensor(labels)


@pytest.mark.parametrize(("choice", "loop"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
@FEW
@given(batch=batches(), progress=st.sampled_from([0.0, 0.1, 0.37, 1.0]))
def test_a_loss_and_its_gradient_are_those_of_a_loop(choice, loop, batch, progress):
    scores, labels = batch
    own, other = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    value, expected = loss_of(choice, own, labels, progress), loop(other, labels, progress)
    torch.testing.assert_close(value, torch.as_tensor(expected, dtype=torch.float64))
    value.backward()
    if torch.is_tensor(expected):
        expected.backward()
    torch.testing.assert_close(own.grad, torch.zeros_like(own) if other.grad is None else other.grad)


@pytest.mark.parametrize("choice", [choice for choice, _ in CASES], ids=str)
@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_loss_and_its_gradient_are_finite_at_scores_of_zero_and_one(choice, score):
    scores = torch.full((2, 3), score, requires_grad=True)
    value = loss_of(choice, scores, torch.tensor([0, 2]), 1.0)
    value.backward()
    assert value.isfinite() and scores.grad.isfinite().all()


@pytest.mark.parametrize("name", ["margin", "spread", "cross_entropy", "negative_log_likelihood"])
def test_a_loss_is_lower_when_the_true_class_leads(name):
    scores = torch.tensor([[0.9, 0.05, 0.05]])
    right, wrong = (loss_of(losses(name), scores, torch.tensor([label])) for label in (0, 1))
    assert right < wrong


@pytest.mark.parametrize("classes", [2, 10])
def test_the_authors_scale_is_the_papers_over_twice_the_classes(classes):
    scores, labels = torch.rand(4, classes, dtype=torch.float64), torch.arange(4) % classes
    paper, authors = (loss_of(losses("margin", scale=scale), scores, labels) for scale in ("paper", "authors"))
    torch.testing.assert_close(authors, paper / {2: 4, 10: 20}[classes])


def test_hard_margins_take_over_after_their_share_of_the_training_and_by_default_never():
    scores, labels = torch.tensor([[0.92, 0.08]], dtype=torch.float64), torch.tensor([0])
    hard = 0.03**2 + 0.8 * 0.03**2
    for progress, expected in [(0.0, 0.0), (0.5, 0.0), (0.51, hard), (1.0, hard)]:
        assert loss_of(losses("margin", hard_after=0.5), scores, labels, progress).item() == pytest.approx(expected)
        assert loss_of(losses("margin"), scores, labels, progress) == 0


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("authors", 0.0, 0.2 + 0.79 / (1 + math.exp(4))),  # their step 0
        ("authors", 0.1, 0.2 + 0.79 / 2),  # their step 200,000, where the sigmoid is at its middle
        ("authors", 0.35, 0.2 + 0.79 / (1 + math.exp(-10))),  # their step 700,000: the margin stays from here on
        ("authors", 1.0, 0.2 + 0.79 / (1 + math.exp(-10))),
        ("paper", 0.0, 0.2),
        ("paper", 0.5, 0.55),
        ("paper", 1.0, 0.9),
    ],
)
def test_the_margin_of_the_spread_loss_grows_as_published(schedule, progress, expected):
    assert losses("spread", schedule=schedule).build().margin(progress) == pytest.approx(expected)
    even = torch.full((1, 3), 0.5, dtype=torch.float64)  # no lead: each of the two others costs the margin squared
    value = loss_of(losses("spread", schedule=schedule), even, torch.tensor([1]), progress)
    assert value.item() == pytest.approx(2 * expected**2)


def test_the_papers_reconstruction_is_0392_per_pixel_at_784_pixels():
    rebuilt, images = torch.rand(2, 3, 1, 28, 28, dtype=torch.float64)
    labels, result = torch.zeros(3, dtype=torch.int64), output(torch.zeros(3, 2, dtype=torch.float64), rebuilt)
    paper = losses("reconstruction", per="image", weight=0.0005).build()(result, images, labels, 0.0)
    pixel = losses("reconstruction").build()(result, images, labels, 0.0)
    torch.testing.assert_close(paper, pixel)


@pytest.mark.parametrize(("per", "count"), [("pixel", 2 * 3 * 4), ("image", 1)])
def test_reconstruction_counts_pixels_and_channels(per, count):
    rebuilt = torch.rand(5, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    images = torch.rand(5, 2, 3, 4, dtype=torch.float64)
    expected = sum((a - b) ** 2 for a, b in zip(rebuilt.flatten(), images.flatten(), strict=True)) / (5 * count)
    criterion = losses("reconstruction", weight=1.0, per=per).build()
    scores = torch.zeros(5, 1, dtype=torch.float64)
    found = criterion(output(scores, rebuilt), images, torch.zeros(5, dtype=torch.int64), 0.0)["reconstruction"]
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value, rebuilt)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


WEIGHING = sorted(name for name in losses if "class_weights" in losses.options(name))


def weighed(name, labels, **options):
    """The loss as training on these labels minimises it."""
    return losses(name, class_weights="balanced", **options).build().weighed(labels.bincount(minlength=4))


def value_of(loss, scores, labels):
    (value,) = loss(output(scores), torch.zeros(len(labels), 1, 1, 1), labels, 0.4).values()
    return value


@pytest.mark.parametrize("name", WEIGHING)
def test_repeating_all_samples_of_a_class_leaves_a_balanced_loss_as_it_is(name):
    scores, labels = torch.rand(9, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 0, 0, 1, 1, 2, 2])  # none of class 3
    again = torch.cat([torch.arange(9), *[torch.arange(5, 7)] * 3])
    once = value_of(weighed(name, labels), scores, labels)
    repeated = value_of(weighed(name, labels[again]), scores[again], labels[again])
    torch.testing.assert_close(repeated, once)
    plain = losses(name).build()
    each = [value_of(plain, scores[labels == label], labels[labels == label]) for label in range(3)]
    torch.testing.assert_close(once, torch.stack(each).mean())


@pytest.mark.parametrize("name", WEIGHING)
def test_class_weights_change_no_bit_where_classes_have_one_size_or_none_are_asked_for(name):
    scores, labels = torch.rand(8, 4), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3])
    plain = losses(name).build()
    assert value_of(weighed(name, labels), scores, labels) == value_of(plain, scores, labels)
    assert plain.weighed(torch.tensor([5, 1, 1, 1])) is plain


def test_training_weighs_by_the_counts_of_its_images_and_evaluation_does_not():
    labels, criteria = torch.tensor([0, 0, 0, 2]), [losses("margin", class_weights="balanced").build(), NoLoss()]
    margin, other = weigh(criteria, labels, 3)
    assert margin.weights.tolist() == pytest.approx([4 / 6, 2, 2]) and other is criteria[1]  # none of class 1: unused
    assert criteria[0].weights is None


def test_every_loss_of_the_classes_can_weigh_them():
    assert sorted(set(losses) - {"none", "reconstruction"}) == WEIGHING


def test_no_loss_has_no_terms():
    assert losses("none").build()(output(torch.zeros(2, 3)), torch.zeros(2, 1, 1, 1), torch.tensor([0, 1]), 0.0) == {}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("margin", {"positive": 1.5}, "from 0 to 1"),
        ("margin", {"hard_negative": 0.96}, "0 <= negative <= positive <= 1"),
        ("margin", {"absent": -0.5}, "at least 0"),
        ("margin", {"hard_after": 1.2}, "from 0 to 1"),
        ("cross_entropy", {"smoothing": 1.0}, "less than 1"),
        ("negative_log_likelihood", {"epsilon": 0.0}, "positive"),
        ("reconstruction", {"weight": -1.0}, "at least 0"),
    ],
)
def test_values_that_make_no_sense_are_refused(name, options, message):
    with pytest.raises(UserError, match=message):
        losses(name, **options).build()


def test_reconstruction_without_a_decoder_is_refused():
    with pytest.raises(UserError, match="no decoder"):
        loss_of(losses("reconstruction"), torch.zeros(1, 2), torch.tensor([0]))
