"""Pixels are normalized once, inside the network, by numbers that the training pixels alone give."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks, start_ranks
from PIL import Image
from safetensors.torch import load_file
from test_cli import said
from test_networks_matrix import SMALL as SMALL_MATRIX
from test_networks_vector import SMALL
from test_resume import history, train_until
from test_train import RUN

from capsnet_dist import UserError, build, datasets, load, models, save
from capsnet_dist.data import store
from capsnet_dist.data.division import hold_out
from capsnet_dist.images.normalization import KINDS, ByChannel, make_normalization
from capsnet_dist.loss.reconstruction import Reconstruction
from capsnet_dist.model.capsnet import CapsNet
from capsnet_dist.record import resumed
from capsnet_dist.run import Checkpoints
from capsnet_dist.train import train

CHOSEN = [kind for kind in KINDS if kind != "none"]
NETWORKS = {"capsnet": RUN.model.options} | SMALL | SMALL_MATRIX


def small(kind="network"):
    return build(RUN.model, (1, 8, 8), tuple("abcdefghij"), normalization=kind)


@pytest.mark.parametrize("name", sorted(models))
def test_a_network_that_normalizes_nothing_is_the_one_of_before(name):
    choice, image = models(name, **NETWORKS[name]), (2, 20, 20)
    torch.manual_seed(0)
    model = build(choice, image, tuple("abc"), normalization="none").eval()
    torch.manual_seed(0)
    other = build(choice, image, tuple("abc"), normalization="channels").eval()
    images = torch.rand(1, *image)
    assert model.pixel_normalization is None and torch.equal(model(images).scores, model.forward(images).scores)
    assert torch.equal(other(images).scores, model(images).scores)  # not measured yet
    numbers = {"pixel_normalization.mean", "pixel_normalization.deviation"}
    assert other.state_dict().keys() - model.state_dict().keys() == numbers


def test_the_pixels_of_homogeneous_capsules_are_symmetric_where_nobody_chooses():
    torch.manual_seed(0)
    model = models("hvc", channels=4, growth=2, branches=(1, 2)).build((1, 9, 9), 3).eval()
    images = torch.rand(2, 1, 9, 9)
    assert model.normalization == "symmetric" and "pixel_normalization" not in "".join(model.state_dict())
    assert torch.equal(model(images).scores, model.forward(2 * images - 1).scores)
    assert torch.equal(model(images=images).scores, model(images).scores)
    assert small().normalization == "none"


def test_each_normalization_is_its_formula():
    images = torch.rand(3, 2, 5, 4, dtype=torch.float64)
    assert torch.equal(make_normalization("symmetric", 2)(images), 2 * images - 1)
    for image, found in zip(images, make_normalization("image", 2)(images), strict=True):
        expected = (image - image.mean()) / image.std(unbiased=False)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    channels = make_normalization("channels", 2).double()
    shades = torch.tensor([[0, 3, 3, 255], [7, 8, 9, 10]])
    channels.measure([row.bincount(minlength=256).tolist() for row in shades])
    unit = shades.double() / 255
    torch.testing.assert_close(channels.mean, unit.mean(1), rtol=1e-15, atol=0)
    torch.testing.assert_close(channels.deviation, unit.std(1, unbiased=False), rtol=1e-15, atol=0)
    assert torch.equal(channels(images), (images - channels.mean[:, None, None]) / channels.deviation[:, None, None])
    assert "mean=0.256 0.033" in repr(channels)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("kind", CHOSEN)
@pytest.mark.parametrize("shade", [0.0, 1 / 3, 1.0])
def test_images_of_one_shade_divide_by_no_zero(kind, shade, dtype):
    normalization = make_normalization(kind, 3)
    if isinstance(normalization, ByChannel):
        normalization.measure([[0] * 85 + [900] + [0] * 170] * 3)
    images = torch.full((2, 3, 8, 8), shade, dtype=dtype, requires_grad=True)
    found = normalization.to(dtype)(images)
    found.sum().backward()
    assert found.dtype is dtype and found.isfinite().all() and images.grad.isfinite().all()
    assert kind != "image" or found.abs().max() < 0.01


def recorded(run):
    """Train and use every command; the extremes of what the network sees, and of what losses compare with."""
    seen, compared = [], []
    forward, rebuilt = CapsNet.forward, Reconstruction.__call__

    def see(self, images, labels=None):
        seen.append((images.min().item(), images.max().item()))
        return forward(self, images, labels)

    def compare(self, output, images, labels, progress):
        compared.append((images.min().item(), images.max().item()))
        return rebuilt(self, output, images, labels, progress)

    CapsNet.forward, Reconstruction.__call__ = see, compare
    train(run)
    counts = [len(seen)]
    Image.new("L", (8, 8)).save("a.png")
    for command, *words in (["evaluate"], ["predict", "a.png"], ["show", "poses", "--number", 20]):
        code, _, err = said(command, run.run_dir, *words)
        assert code == 0, err
        counts.append(len(seen))
    load(run.run_dir).predict(torch.zeros(1, 1, 8, 8))
    return seen, compared, [*counts, len(seen)]


def test_every_command_normalizes_exactly_once_and_losses_see_the_pixels_themselves():
    seen, compared, counts = run_ranks(1, recorded, replace(RUN, steps=2, normalization="symmetric"))
    assert len({*counts}) == len(counts), "a command did not use the network"
    assert {low for low, _ in seen} == {-1.0} and max(high for _, high in seen) == 1.0
    assert {low for low, _ in compared} == {0.0} and max(high for _, high in compared) == 1.0


def trained(kind, world, **options):
    """The numbers that a short training leaves."""
    folder = Path(f"run-{world}-{len(list(Path().iterdir()))}")
    run_ranks(world, train, replace(RUN, steps=1, normalization=kind, validation=0.3, run_dir=folder, **options))
    state = load_file(folder / "model.safetensors")
    return state["pixel_normalization.mean"], state["pixel_normalization.deviation"]


@pytest.mark.parametrize("is_resident", [True, False])
def test_channels_are_measured_on_the_training_pixels_alone_by_any_number_of_processes(is_resident, monkeypatch):
    shades = np.random.default_rng(0)
    for name in ("left", "right"):
        Path("set", name).mkdir(parents=True)
        for number in range(40):
            Image.fromarray(shades.integers(0, 256, (8, 8, 3), np.uint8)).save(Path("set", name, f"{number}.png"))
    data = datasets("folder", root=Path("set"), size=8, cache=Path("cache"))
    monkeypatch.setattr(store, "RESIDENT", 2**28 if is_resident else 0)
    monkeypatch.setattr("capsnet_dist.training.normalization.CHUNK", 8 * 8 * 3 * 5)  # in several parts
    alone, shared = (trained("channels", world, data=data, dtype="float64") for world in (1, 2))
    train_split = data.build().split("train")
    assert train_split.is_resident == is_resident
    kept, _ = hold_out(train_split.labels, 0.3)
    pixels = train_split.select(kept).pixels.double() / 255
    for found, other, expected in zip(
        alone, shared, (pixels.mean((0, 2, 3)), pixels.std((0, 2, 3), unbiased=False)), strict=True
    ):
        assert torch.equal(found, other)
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


def test_a_killed_run_that_normalizes_goes_on_bit_for_bit():
    checkpoint = Checkpoints(every=2)
    run = replace(RUN, steps=6, normalization="channels", checkpoint=checkpoint, resume="auto", run_dir=Path("alone"))
    run_ranks(1, train, run)
    run = replace(run, run_dir=Path("run"))
    (process,) = start_ranks(1, train_until, run, 3, 9)
    process.join(60)
    run_ranks(1, train, run)
    assert history(Path("run")) == history(Path("alone"))


def test_the_choice_is_saved_with_the_network_and_an_old_folder_says_nothing():
    model = small("channels")
    model.pixel_normalization.measure([[1, 2] + [0] * 253 + [3]])
    images = torch.rand(2, 1, 8, 8)
    save(model, "saved")
    found = load("saved")
    assert found.normalization == "channels" and torch.equal(found(images).scores, model.eval()(images).scores)
    save(found, "again")
    assert load("again").normalization == "channels"
    save(small(), "old")
    file = Path("old/config.json")
    config = json.loads(file.read_text())
    assert config.pop("normalization") == "none"
    file.write_text(json.dumps(config))
    assert load("old").normalization == "none"
    for wrong in ("network ", 7, None, ["image"], "channels"):
        file.write_text(json.dumps(config | {"normalization": wrong}))
        with pytest.raises(
            UserError, match="normalization must be one of none, image|pixel_normalization.mean is miss"
        ):
            load("old")


def test_a_checkpoint_of_before_an_option_was_there_goes_on_without_a_word():
    now = {"run": resumed.repeatable(RUN), "environment": {"pixels": "a"}}
    before = {"run": {k: v for k, v in now["run"].items() if k != "normalization"}, "environment": now["environment"]}
    found = resumed.Checkpoint(1, {}, before)
    resumed.compare(replace(RUN, strict_resume=True), {"pixels": "a"}, found)
    other = replace(RUN, strict_resume=True, normalization="image")
    with pytest.raises(UserError, match="run.normalization: 'network' before, 'image' now"):
        resumed.compare(other, {"pixels": "a"}, found)


def test_weights_to_start_from_bring_their_numbers_and_no_other_normalization():
    model = small("channels")
    model.pixel_normalization.measure([[1, 2] + [0] * 253 + [3]])
    save(model, "start")
    mean, _ = trained("channels", 1, start="start")
    assert torch.equal(mean, model.pixel_normalization.mean)
    with pytest.raises(UserError, match="--start start is another network"):
        train(replace(RUN, start="start", dry_run=True))
