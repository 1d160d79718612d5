"""Corruptions are those of MNIST-C, grow with their severity, take any images, and follow from seed and image alone."""

import pytest
import torch
from scipy.ndimage import gaussian_filter
from torchvision.transforms.functional import rgb_to_grayscale

from capsnet_dist.robustness import filters
from capsnet_dist.robustness.chance import Chance
from capsnet_dist.robustness.corruptions import CORRUPTIONS, SEVERITIES, corrupted

SHAPES = [(3, 32, 40), (2, 17, 23), (1, 12, 12)]


def pictures(shape, number=4):
    """A bright blot with some texture on a dark ground."""
    down, right = (torch.linspace(-1.2, 1.2, side) for side in shape[1:])
    blot = (1 - down[:, None].square() - right.square()).clamp(0, 1)
    texture = torch.rand(number, *shape, generator=torch.Generator().manual_seed(0))
    return (255 * blot * (0.6 + 0.4 * texture)).round().byte()


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_corruptions_take_any_size_and_channels_and_grow_with_severity(name, shape):
    images, numbers = pictures(shape), torch.arange(4)
    found = [corrupted(name, severity, 0)(images, numbers) for severity in SEVERITIES]
    assert all(one.shape == images.shape and one.dtype == torch.uint8 for one in found)
    distances = [(one.float() - images.float()).abs().mean().item() for one in found]
    assert 0 < distances[0] < distances[-1]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_follow_from_the_seed_and_the_number_of_an_image_alone(name):
    images, numbers = pictures((1, 28, 28)), torch.tensor([5, 3, 11, 7])
    together = corrupted(name, 3, 1)(images, numbers)
    assert torch.equal(together[2:3], corrupted(name, 3, 1)(images[2:3], numbers[2:3]))
    if name not in ("brightness", "stripe", "scale", "canny edges"):  # which draw nothing
        assert not torch.equal(together, corrupted(name, 3, 2)(images, numbers))


def test_shot_noise_is_that_of_counted_photons():
    images = torch.full((1, 1, 100, 100), 102, dtype=torch.uint8)  # 0.4
    found = corrupted("shot noise", 2, 0)(images, torch.zeros(1, dtype=torch.int64)) / 255
    assert found.mean().item() == pytest.approx(0.4, abs=0.01)
    assert found.var().item() == pytest.approx(0.4 / 25, rel=0.1)


def test_impulse_noise_makes_as_many_pixels_black_as_white():
    images = torch.full((1, 1, 200, 200), 100, dtype=torch.uint8)
    found = corrupted("impulse noise", 5, 0)(images, torch.zeros(1, dtype=torch.int64))
    assert [(found == shade).float().mean().item() for shade in (0, 255)] == pytest.approx([0.135] * 2, abs=0.01)


def test_translate_moves_by_whole_pixels_of_mnist_and_scale_shrinks():
    images = torch.zeros(8, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 14, 14] = 255
    moved = corrupted("translate", 4, 0)(images, torch.arange(8))
    places = {tuple(one.nonzero()[0].tolist()) for one in moved[:, 0]}
    assert places <= {(row, column) for row in (10, 18) for column in (10, 18)} and len(places) > 1
    images[:, :, 4:24, 4:24] = 255
    assert (corrupted("scale", 5, 0)(images, torch.arange(8))[0, 0].max(dim=0).values > 127).sum() == 10


def test_rotate_turns_by_one_radian_at_most_and_either_way():
    images = torch.zeros(8, 1, 29, 29, dtype=torch.uint8)
    images[:, :, 13:16, 24] = 255  # to the right of the middle, by ten
    found = corrupted("rotate", 5, 0)(images, torch.arange(8))[:, 0].float()
    weights = found / found.sum(dim=(1, 2), keepdim=True)
    across = torch.arange(29) - 14.0
    angles = torch.atan2((weights.sum(2) * across).sum(1), (weights.sum(1) * across).sum(1))
    torch.testing.assert_close(angles.abs(), torch.ones(8), atol=0.02, rtol=0)
    assert len(set(angles.sign().tolist())) == 2


def test_brightness_leaves_hue_and_saturation():
    images = torch.tensor([[[[40]], [[80]], [[20]]]], dtype=torch.uint8)
    found = corrupted("brightness", 2, 0)(images, torch.zeros(1, dtype=torch.int64)).flatten().tolist()
    assert found == [round(shade * (80 + 51) / 80) for shade in (40, 80, 20)]


def test_stripes_at_severity_five_are_a_quarter_on_either_side():
    found = corrupted("stripe", 5, 0)(torch.zeros(1, 1, 2, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
    assert found[0, 0, 0].tolist() == [255] * 7 + [0] * 14 + [255] * 7


def test_the_gaussian_is_that_of_scipy():
    images = pictures((1, 20, 24), 1) / 255
    expected = torch.from_numpy(gaussian_filter(images[0, 0].double().numpy(), 1.5, mode="nearest"))
    torch.testing.assert_close(filters.gaussian(images, 1.5)[0, 0].double(), expected, atol=1e-5, rtol=0)


def test_blurs_leave_one_shade_as_it_is():
    even = torch.full((2, 1, 9, 9), 0.3)
    chance = Chance(0, "test", torch.arange(2))
    for blurred in (
        filters.motion(even, chance.uniform(), 6.0, 2.0),
        filters.shuffled(even, chance, 2),
        filters.gaussian(even, 2.0),
    ):
        torch.testing.assert_close(blurred, even)


def test_motion_falls_off_on_one_side():
    dot = torch.zeros(1, 1, 21, 21)
    dot[0, 0, 10, 10] = 1
    row = filters.motion(dot, torch.zeros(1), 6.0, 3.0)[0, 0, 10]
    expected = (-0.5 * (torch.arange(7) / 3.0).square()).exp()
    torch.testing.assert_close(row[4:11], expected.flip(0) / expected.sum())
    assert row[11:].sum() == 0


def test_the_edge_of_a_step_is_one_pixel_wide():
    step = torch.zeros(1, 1, 16, 16)
    step[..., 8:] = 1
    found = filters.edges(step, 1.0)[0, 0]
    assert found[1:-1].sum(dim=1).tolist() == [1.0] * 14 and found[:, 7:9].sum() == 14
    assert filters.edges(torch.full((1, 1, 16, 16), 0.5), 1.0).sum() == 0


def test_grey_is_that_of_torchvision():
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(filters.grey(images), rgb_to_grayscale(images), atol=2e-4, rtol=0)
