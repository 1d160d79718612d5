"""Order and augmentation are functions of (seed, epoch, index) alone."""

import torch

from capsnet_dist import augmentations, datasets
from capsnet_dist.data.order import Order, draws, hold_out, key


def test_an_epoch_visits_every_sample_at_most_once_and_shards_make_up_the_batch():
    order = Order(50, 8, seed=3)
    seen = torch.cat([order.batch(step) for step in range(6)])
    assert len(seen.unique()) == 48
    assert not torch.equal(seen, torch.cat([order.batch(step) for step in range(6, 12)]))
    torch.testing.assert_close(torch.cat([order.shard(4, part, 4) for part in range(4)]), order.batch(4))


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


def test_hold_out_takes_the_same_share_of_every_class():
    labels = torch.arange(10).repeat(30)
    kept, held = hold_out(labels, 0.1)
    assert labels[held].bincount().tolist() == [3] * 10
    assert len(torch.cat([kept, held]).unique()) == 300


def test_digits_splits_share_no_sample_and_lose_none():
    digits = datasets("digits").build()
    train, test = digits.split("train"), digits.split("test")
    assert len(train.labels) + len(test.labels) == 1797
    assert train.images.dtype is torch.uint8 and train.images.max() == 255
