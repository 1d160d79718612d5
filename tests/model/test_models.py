"""The network of the paper, held to its published parameter counts and to any shape of image."""

import json

import pytest
import torch
from einops import rearrange

from capsnet_dist import UserError, build, decoders, load, losses, models, primaries, routings, save


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_parameter_counts_are_those_of_the_paper():
    classes = tuple("0123456789")
    assert count(build(models("capsnet"), (1, 28, 28), classes)) == 8_215_568
    assert count(build(models("capsnet", decoder=decoders("none")), (1, 28, 28), classes)) == 6_804_224
    assert count(build(models("capsnet", routing=routings("dynamic", bias=True)), (1, 28, 28), classes)) == 8_215_728


@pytest.mark.parametrize("image", [(1, 9, 9), (3, 12, 10), (2, 9, 15)])
@pytest.mark.parametrize("classes", [1, 2, 7])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("initialization", ["torch", "authors"])
def test_any_image_size_channels_classes_and_batch_work(image, classes, batch, initialization):
    choice = models("capsnet", channels=4, kernel=5, primary_types=2, primary_kernel=5, initialization=initialization)
    model = choice.build(image, classes)
    output = model(torch.rand(batch, *image))
    assert output.scores.shape == (batch, classes)
    assert output.reconstruction.shape == (batch, *image)
    assert model.predict(torch.zeros(batch, *image, dtype=torch.uint8)).labels.shape == (batch,)


def sabour(images, kernel, bias):
    """Primary capsules of the authors' code: a softmax over the types shares out each part of the convolution."""
    maps = torch.nn.functional.conv2d(images, kernel, stride=2)
    poses = rearrange(maps, "b (n d) h w -> b d (n h w)", d=4)
    types = maps.shape[1] // 4
    totals = rearrange(poses / types, "b d (n i) -> b n i d", n=types) + rearrange(bias, "(n d) -> n 1 d", d=4)
    squared = totals.square().sum(dim=-1, keepdim=True)
    return rearrange(totals * squared.sqrt() / (1 + squared), "b n i d -> b (n i) d")


def test_primary_capsules_with_a_factor_are_those_of_the_authors_code():
    primary = primaries("vector", types=8, dim=4, kernel=5, factor=1 / 8).build((3, 11, 9)).double()
    maps = torch.rand(2, 3, 11, 9, dtype=torch.float64)
    torch.testing.assert_close(primary(maps).poses, sabour(maps, primary.conv.weight, primary.conv.bias))


@pytest.mark.parametrize("factor", [1.0, 1 / 32])
def test_the_authors_network_starts_with_short_class_capsules(factor):
    torch.manual_seed(0)
    dynamic = routings("dynamic", bias=True)
    model = models("capsnet", initialization="authors", primary_factor=factor, routing=dynamic).build((1, 28, 28), 10)
    digits = torch.nn.functional.interpolate(torch.rand(4, 1, 7, 7), (20, 20))  # as much ink as a digit has
    scores = model(0.3 * torch.nn.functional.pad(digits, (4, 4, 4, 4))).scores
    assert 0.05 < scores.mean() < 0.3  # 0.8 without the share of a part that each type gets


def test_a_folder_saved_before_there_was_a_factor_loads_as_it_was(tmp_path):
    sizes = {"channels": 4, "kernel": 5, "primary_types": 2, "primary_kernel": 5}
    model = build(models("capsnet", initialization="authors", **sizes), (1, 12, 12), ("a", "b"))
    save(model, tmp_path)
    described = json.loads((tmp_path / "config.json").read_text())
    assert described["model"].pop("primary_factor") == 1
    assert described["model"]["routing"].pop("temperature") == described["model"]["routing"].pop("scale") == 1
    (tmp_path / "config.json").write_text(json.dumps(described))
    images = torch.rand(2, 1, 12, 12)
    assert torch.equal(load(tmp_path)(images).scores, model(images).scores)


def test_too_small_an_image_is_refused_with_the_sizes():
    with pytest.raises(UserError, match=r"8x8 pixels are too small for kernels of 9 and 9: at least 17x17"):
        models("capsnet").build((1, 8, 8), 10)


def test_uint8_and_float_images_give_the_same_prediction():
    model = models("capsnet", channels=4, kernel=5, primary_types=2, primary_kernel=5).build((1, 12, 12), 3)
    images = torch.randint(256, (5, 1, 12, 12), dtype=torch.uint8)
    torch.testing.assert_close(model.predict(images).scores, model.predict(images / 255).scores)
    with pytest.raises(UserError, match=r"\[0, 1\]"):
        model.predict(images.float())
    with pytest.raises(UserError, match="batch x 1x12x12"):
        model.predict(images[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_routing_and_losses_stay_in_float32_under_autocast(dtype, tolerance):
    model = models("capsnet", channels=8, kernel=5, primary_types=4, primary_kernel=5).build((1, 12, 12), 3)
    images, labels = torch.rand(4, 1, 12, 12), torch.tensor([0, 1, 2, 1])
    full = model(images, labels)
    with torch.autocast("cpu", dtype):
        half = model(images, labels)
    assert half.scores.dtype is half.poses.dtype is torch.float32
    torch.testing.assert_close(half.scores, full.scores, rtol=tolerance, atol=tolerance)
    for name in ("margin", "reconstruction"):
        (term,) = losses(name).build()(half, images, labels, 0.0).values()
        (expected,) = losses(name).build()(full, images, labels, 0.0).values()
        assert term.dtype is torch.float32
        torch.testing.assert_close(term, expected, rtol=tolerance, atol=tolerance)
