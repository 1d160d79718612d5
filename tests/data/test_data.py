"""Order and augmentation are functions of (seed, epoch, index) alone."""

import pytest
import torch

from capsnet_dist import Split, UserError, augmentations, datasets
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import BalancedOrder, Order, draws, key, make_order


def test_an_epoch_visits_every_sample_at_most_once_and_shards_make_up_the_batch():
    order = Order(50, 8, seed=3)
    seen = torch.cat([order.batch(step) for step in range(6)])
    assert len(seen.unique()) == 48
    assert not torch.equal(seen, torch.cat([order.batch(step) for step in range(6, 12)]))
    torch.testing.assert_close(torch.cat([order.shard(4, part, 4) for part in range(4)]), order.batch(4))


LABELS = torch.tensor([0] * 700 + [1] * 30 + [3] * 270)[
    torch.randperm(1000, generator=torch.Generator().manual_seed(0))
]


def test_a_balanced_epoch_takes_as_many_of_each_class_and_repeats_only_what_is_used_up():
    order = BalancedOrder(LABELS, 50, seed=3)
    indices = order.all(0)
    samples = order.samples(indices)
    counts = LABELS[samples].bincount()[[0, 1, 3]]
    assert len(indices) == 1000 and len(indices.unique()) == 1000 and set(counts.tolist()) == {333, 334}
    times = samples.bincount(minlength=1000)
    assert times[LABELS == 0].max() == 1 and set(times[LABELS == 3].tolist()) == {1, 2}
    assert set(times[LABELS == 1].tolist()) <= {11, 12}
    assert LABELS[samples[:200]].bincount()[1] > 40, "it is not shuffled"
    assert not torch.equal(order.all(1), indices) and torch.equal(BalancedOrder(LABELS, 50, seed=3).all(0), indices)
    assert len(torch.cat([order.samples(order.all(epoch)) for epoch in range(6)]).unique()) > 950
    shards = [order.shard(7, part, 5) for part in range(5)]
    torch.testing.assert_close(torch.cat(shards), order.batch(7))


def test_what_is_repeated_is_augmented_otherwise_each_time():
    images = torch.arange(64, dtype=torch.uint8).reshape(1, 1, 8, 8).expand(12, -1, -1, -1)
    labels = torch.tensor([0] + [1] * 11)
    shift = augmentations("shift", pixels=3).build()
    batches = Batches(Split(images, labels), shift, make_order("balanced", labels, 12, 0), torch.float32)
    seen, found, *_ = batches.shard(0, 0, 1)
    assert found.sum() == 6 and len(seen[found == 0].flatten(1).unique(dim=0)) > 2


def test_samples_of_several_classes_are_not_balanced():
    with pytest.raises(UserError, match="--sampling balanced: images have several labels each"):
        make_order("balanced", torch.zeros(4, 2, dtype=torch.int64), 2, 0)


def test_draws_are_uniform_and_belong_to_the_sample():
    numbers = draws(key(0, 0), torch.arange(100_000), 2)
    assert numbers.min() >= 0 and numbers.max() < 1
    histogram = torch.histc(numbers, bins=50)
    assert ((histogram - 4000).square() / 4000).sum() < 100  # chi-squared, 49 degrees of freedom
    assert torch.corrcoef(numbers.T)[0, 1].abs() < 0.02
    torch.testing.assert_close(draws(key(0, 0), torch.tensor([77, 5]), 2), numbers[[77, 5]])
    assert not torch.equal(draws(key(0, 1), torch.arange(9), 2), draws(key(0, 0), torch.arange(9), 2))
    assert not torch.equal(draws(key(1, 0), torch.arange(9), 2), draws(key(0, 0), torch.arange(9), 2))


def test_shift_moves_whole_images_and_brings_in_zeros():
    images = torch.randint(1, 256, (4, 3, 5, 6), dtype=torch.uint8)
    shift = augmentations("shift", pixels=1).build()
    moved = shift(images, torch.tensor([[0.0, 0.5], [0.5, 0.0], [0.5, 0.5], [0.99, 0.99]]))
    torch.testing.assert_close(moved[0, :, 1:], images[0, :, :-1])
    assert (moved[0, :, 0] == 0).all()
    torch.testing.assert_close(moved[1, :, :, 1:], images[1, :, :, :-1])
    torch.testing.assert_close(moved[2], images[2])
    torch.testing.assert_close(moved[3, :, :-1, :-1], images[3, :, 1:, 1:])


def test_digits_splits_share_no_sample_and_lose_none():
    digits = datasets("digits").build()
    train, test = digits.split("train"), digits.split("test")
    assert len(train.labels) + len(test.labels) == 1797
    assert train.images.dtype is torch.uint8 and train.images.max() == 255
