"""Augmentations: an image and its draws alone decide what becomes of it, within the ranges that its options say."""

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks
from einops import rearrange
from PIL import Image
from test_train import RUN, trained

import capsnet_dist
from capsnet_dist import Output, UserError, augmentations, losses
from capsnet_dist.commands import evaluate as command
from capsnet_dist.commands.predict import predict
from capsnet_dist.config import command_line, from_dict, to_dict
from capsnet_dist.data.augment_affine import backwards, margins
from capsnet_dist.data.batches import Batch, Batches
from capsnet_dist.data.order import draws, key, make_order, partners
from capsnet_dist.data.resample import warp
from capsnet_dist.images.stored import Stored
from capsnet_dist.plugins import datasets
from capsnet_dist.run import check
from capsnet_dist.training.cuda_graph import captures

OPTIONS = {
    "crop": {"side": 9, "padding": 1},
    "resized_crop": {"side": 9},
    "affine": {"translation": 2.5},
    "erase": {"share": 0.5},
    "chain": {"parts": tuple(map(augmentations, ("resized_crop", "affine", "flip", "brightness_contrast", "hvc")))},
}
"""Options that show more than the default ones."""
IDENTICAL = {
    "none": {},
    "shift": {"pixels": 0},
    "crop": {"padding": 0},
    "resized_crop": {"area": 1.0, "stretch": 0.0},
    "flip": {"share": 0.0},
    "erase": {"share": 0.0},
    "affine": {"rotation": 0.0, "shear": 0.0, "scale": 0.0},
    "brightness_contrast": {"brightness": 0.0, "contrast": 0.0},
    "chain": {"parts": (augmentations("shift", pixels=0), augmentations("crop", padding=0))},
}
"""Options that leave images as they are."""
EVERY = [pytest.param(augmentations(name, **OPTIONS.get(name, {})), id=name) for name in augmentations]


def pictures(number=12, channels=3, height=12, width=14):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (number, channels, height, width), generator=generator, dtype=torch.uint8)
    images[:, :, :2] = images[:, :, -3:] = images[..., :1] = images[..., -2:] = 0  # a margin, for those that move
    return images


def drawn(choice, number=12, epoch=0):
    return draws(key(0, epoch), torch.arange(number), choice.build().num_draws)


def changed(augmentation, images, numbers):
    """What it makes of images; one that mixes gets the same ones as partners, each turned upside down."""
    if augmentation.mixes:
        return augmentation.mix(images, images.flip(2), numbers, numbers)[0]
    return augmentation(images, numbers)


@pytest.mark.parametrize(("name", "options"), IDENTICAL.items(), ids=IDENTICAL)
@pytest.mark.parametrize("size", [(12, 14), (7, 7), (28, 28)])
def test_no_strength_leaves_images_as_they_are(name, options, size):
    choice = augmentations(name, **options)
    images = pictures(32, 3, *size)
    assert torch.equal(choice.build()(images, drawn(choice, 32)), images)
    assert torch.equal(choice.build().still(images), images)


def test_whole_pixels_are_moved_exactly():
    images = pictures(9, 2, 20, 21)
    shift, affine = (augmentations("shift", pixels=2).build(), None)
    for down, right in itertools.product((-2, -1, 0, 1, 2), repeat=2):
        offset = torch.tensor([[-down, -right]], dtype=torch.float64).expand(9, 2)
        affine = warp(images, torch.eye(2, dtype=torch.float64).expand(9, 2, 2), offset, 20, 21)
        numbers = torch.tensor([[(2 - down + 0.5) / 5, (2 - right + 0.5) / 5]]).expand(9, 2)
        assert torch.equal(affine, shift(images, numbers))


def test_quarter_turns_are_exact():
    images = pictures(4, 3, 15, 15)
    none, one = torch.zeros(4, dtype=torch.float64), torch.ones(4, 2, dtype=torch.float64)
    for quarters in range(4):
        linear = backwards(none + quarters * math.pi / 2, none, one)
        assert torch.equal(warp(images, linear, torch.zeros(4, 2).double(), 15, 15), images.rot90(quarters, (2, 3)))


def test_affine_changes_are_those_of_a_slow_loop():
    choice = augmentations("affine", translation=3.0)
    images, numbers = pictures(3, 1, 11, 9), drawn(choice, 3)
    found = choice.build()(images, numbers)
    for image, share, seen in zip(images[:, 0].double().numpy(), 2 * numbers.double().numpy() - 1, found, strict=True):
        angle, shear, scale, move = math.radians(20) * share[0], 0.2 * share[1], 1 + 0.2 * share[2:4], 3 * share[4:]
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        forward = turn @ np.array([[1, 0], [shear, 1]]) @ np.diag(scale)
        middle = np.array([5, 4])
        for row, column in itertools.product(range(11), range(9)):
            place = np.linalg.solve(forward, np.array([row, column]) - middle - move) + middle
            total = 0.0
            for y, x in itertools.product(range(11), range(9)):
                total += image[y, x] * max(0, 1 - abs(place[0] - y)) * max(0, 1 - abs(place[1] - x))
            assert abs(seen[0, row, column].item() - total) < 0.51


def test_placed_digits_stay_inside_and_get_everywhere():
    images = torch.zeros(4000, 1, 12, 10, dtype=torch.uint8)
    images[:, :, 2:7, 6:10] = pictures(1, 1, 5, 4).clamp(min=1)
    choice = augmentations("place")
    moved = choice.build()(images, drawn(choice, 4000))
    assert torch.equal(moved.flatten(1).sum(1), images.flatten(1).sum(1))
    (above, below), (before, after) = margins(moved)
    assert (above + below == 7).all() and (before + after == 6).all()  # moved in one piece, not torn at an edge
    places = (above * 7 + before).bincount(minlength=56)
    assert ((places - 4000 / 56).square() / (4000 / 56)).sum() < 90  # chi-squared, 55 degrees of freedom
    black = torch.zeros(3, 2, 8, 8, dtype=torch.uint8)
    assert torch.equal(choice.build()(black, drawn(choice, 3)), black)


def test_crops_are_windows_of_the_padded_images_all_of_them_equally_likely():
    images = torch.arange(30, dtype=torch.uint8).reshape(1, 1, 5, 6).expand(6000, -1, -1, -1) + 1
    choice = augmentations("crop", side=4, padding=1)
    found = choice.build()(images, drawn(choice, 6000))
    padded = torch.nn.functional.pad(images[0, 0], [1] * 4)
    windows = rearrange(padded.unfold(0, 4, 1).unfold(1, 4, 1), "y x h w -> (y x) (h w)")
    which = (found.flatten(1)[:, None] == windows).all(2)
    assert (which.sum(1) == 1).all() and ((which.sum(0) - 300).square() / 300).sum() < 50  # 19 degrees of freedom
    assert torch.equal(choice.build().still(images[:1])[0, 0], padded[1:5, 2:6])
    with pytest.raises(UserError, match="side 9 is more than padded images have: 7x8 pixels"):
        augmentations("crop", side=9, padding=1).build()(images, drawn(choice, 6000))


def test_resized_crops_keep_within_the_image_and_the_range_of_areas():
    ramp = torch.arange(64, dtype=torch.uint8).expand(500, 1, 64, 64)
    both = torch.cat([ramp, ramp.mT], dim=1)
    choice = augmentations("resized_crop", side=16, area=0.25, stretch=1.0)
    found = choice.build()(both, drawn(choice, 500)).float()
    assert found.min() >= 0 and found.max() <= 63 and (found[:, 0].amax(1) - found[:, 0].amin(1)).max() <= 1
    kept = (
        torch.stack([(found[:, 1, -1, 0] - found[:, 1, 0, 0]), (found[:, 0, 0, -1] - found[:, 0, 0, 0])]) * 16 / 15 / 64
    )
    area = kept.prod(0)
    assert 0.19 < area.min() < 0.3 and area.max() > 0.8
    assert 0.4 < (kept[0] / kept[1]).min() < 0.7 and 1.4 < (kept[0] / kept[1]).max() < 2.5


def test_evaluation_sees_the_largest_square_in_the_middle():
    images = pictures(300, 1, 8, 12)
    seen = augmentations("resized_crop", side=8).build().still(images)
    assert torch.equal(seen, images[..., 2:10])


def test_brightness_and_contrast_are_those_of_the_formula():
    choice = augmentations("brightness_contrast", brightness=30.0, contrast=0.5)
    images, numbers = pictures(), drawn(choice)
    found = choice.build()(images, numbers)
    share = 2 * numbers.double() - 1
    pixels = images.double()
    mean = pixels.mean((2, 3), keepdim=True)
    factor, change = 1 + 0.5 * share[:, 1, None, None, None], 30 * share[:, 0, None, None, None]
    expected = ((pixels - mean) * factor + mean + change).clamp(0, 255)
    assert (found - expected).abs().max() < 0.501
    assert found.max() == 255 and found.min() == 0


def test_erased_squares_lie_inside_and_in_as_many_images_as_said():
    images = torch.full((4000, 2, 9, 8), 200, dtype=torch.uint8)
    choice = augmentations("erase", side=3, share=0.25)
    black = choice.build()(images, drawn(choice, 4000)) == 0
    assert set(black.flatten(1).sum(1).tolist()) == {0, 18}
    erased = black[black.flatten(1).any(1), 0]
    assert abs(len(erased) - 1000) < 110
    (above, below), (before, after) = margins(erased[:, None].byte())
    assert (above + below == 6).all() and (before + after == 5).all()
    assert above.unique().tolist() == list(range(7)) and before.unique().tolist() == list(range(6))
    with pytest.raises(UserError, match="side 10 is more than images have: 9x8 pixels"):
        augmentations("erase", side=10).build()(images, drawn(choice, 4000))


def test_flips_mirror_half_of_the_images():
    images, choice = pictures(2000, 1, 6, 7), augmentations("flip")
    found = choice.build()(images, drawn(choice, 2000))
    mirrored = (found == images.flip(3)).flatten(1).all(1)
    assert torch.equal(found[~mirrored], images[~mirrored]) and abs(mirrored.sum() - 1000) < 120


def test_the_set_of_homogeneous_capsules_keeps_its_ranges():
    images = torch.zeros(3000, 1, 28, 28, dtype=torch.uint8)
    images[:, :, 8:20, 6:22] = 255
    choice = augmentations("hvc")
    augmentation, numbers = choice.build(), drawn(choice, 3000)
    found = augmentation(images, numbers)
    upright = numbers[:, 5] >= 0.5
    black = augmentation(torch.full_like(images, 255), numbers)[upright, 0] == 0
    patch = black[:, :, 9:19].any(2)  # columns that are within the narrowest
    assert (patch.sum(1) <= 4).all() and patch.any(0).tolist() == [False] * 4 + [True] * 22 + [False] * 2
    removed = black[:, 0].sum(1)  # the first row is never in the patch
    left = (~black[:, 0]).int().argmax(1)
    assert removed.unique().tolist() == list(range(1, 8)) and (left - removed // 2).unique().tolist() == [0, 1]
    (above, below), (before, after) = margins(found)
    widths, heights = 28 - before - after, 28 - above - below
    assert widths.min() >= 8 and widths.max() <= 23 and heights.max() <= 21
    assert above.min() <= 1 and below.min() <= 1, "none got to an edge"
    assert (heights[upright] <= 12).all() and 1400 < upright.sum() < 1600
    with pytest.raises(UserError, match="at least 10x10 pixels; they have 8x8"):
        augmentation(images[..., :8, :8], numbers)


def test_a_chain_is_its_parts_one_after_another():
    parts = [augmentations(name) for name in ("crop", "flip", "brightness_contrast")]
    choice = augmentations("chain", parts=tuple(parts))
    chain, numbers, images = choice.build(), drawn(choice), pictures()
    expected, first = images, 0
    for part in parts:
        built = part.build()
        expected = built(expected, numbers[:, first : first + built.num_draws])
        first += built.num_draws
    assert chain.num_draws == first == 5 and torch.equal(chain(images, numbers), expected)
    assert [type(member).__name__ for member in chain.members()] == ["Chain", "Crop", "Flip", "BrightnessContrast"]
    with pytest.raises(UserError, match="needs at least one augmentation: --augmentation.parts shift"):
        augmentations("chain", parts=()).build()


def test_every_channel_of_an_image_is_moved_alike():
    images = pictures(6, 1).expand(-1, 3, -1, -1)
    for choice in (choice.values[0] for choice in EVERY):
        found = choice.build()(images, drawn(choice, 6))
        assert torch.equal(found, found[:, :1].expand_as(found)), choice.name


CHAIN = augmentations("chain", parts=(augmentations("affine"), augmentations("crop", side=6, padding=0)))


def test_a_network_takes_what_the_augmentation_cuts_and_evaluation_cuts_the_middle(capsys):
    run = replace(RUN, steps=4, augmentation=CHAIN, sampling="balanced", dtype="float64")
    reference, selected = run_ranks(1, trained, run)
    shared, _ = run_ranks(2, trained, replace(run, run_dir=Path("shared"), accumulation=2))
    torch.testing.assert_close(shared, reference, rtol=1e-12, atol=1e-12)
    model = capsnet_dist.load("run")
    assert model.image == (1, 6, 6)
    test = datasets("digits").build().split("test")
    right = model.predict(test.images[..., 1:7, 1:7]).labels == test.labels
    assert right.double().mean().item() == pytest.approx(selected["accuracy"])
    command.evaluate("run", data=datasets("digits"), json=True)
    assert json.loads(capsys.readouterr().out)["accuracy"] == selected["accuracy"]


def test_the_command_line_names_the_parts_of_a_chain_and_their_options():
    words = "--augmentation chain --augmentation.parts crop flip erase --augmentation.parts.0.padding 2"
    run = command_line.parse(RUN, [*words.split(), "--augmentation.parts.2.side", "3"])
    expected = (augmentations("crop", padding=2), augmentations("flip"), augmentations("erase", side=3))
    assert run.augmentation == augmentations("chain", parts=expected)
    assert from_dict(RUN, to_dict(run)) == run
    with pytest.raises(UserError, match="--augmentation.parts.1.share 2.0: must be from 0 to 1"):
        check(
            replace(
                run, augmentation=augmentations("chain", parts=(run.augmentation, augmentations("flip", share=2.0)))
            ),
            1,
        )


def test_a_step_with_foreign_code_in_a_chain_is_not_captured():
    def asked(augmentation):
        return captures(RUN, augmentation.members(), 1, torch.device("cuda"), "no")

    chain = CHAIN.build()
    assert asked(chain)
    chain.parts.append(type("Foreign", (type(chain.parts[0]),), {"__module__": "elsewhere"})())
    assert not asked(chain)


def test_mixup_blends_images_by_shares_of_the_beta_distribution():
    images, others = pictures(4000, 1, 3, 4), pictures(4000, 1, 3, 4).flip(0)
    for alpha, mean in ((1.0, 0.75), (0.2, 0.899)):  # of the larger of a share and what is left of it
        choice = augmentations("mixup", alpha=alpha)
        found, share = choice.build().mix(images, others, drawn(choice, 4000), drawn(choice, 4000, epoch=1))
        own = share[:, None, None, None]
        assert (found - (own * images + (1 - own) * others)).abs().max() < 0.501
        assert share.min() >= 0.5 and share.max() <= 1 and abs(share.mean() - mean) < 0.01


def test_a_partner_is_any_other_sample_whatever_the_batch():
    found = partners(key(0, 0), torch.arange(20_000), 20_000)
    assert (found != torch.arange(20_000)).all() and found.unique().numel() > 12_000
    few = torch.stack([partners(key(seed, 0), torch.arange(5), 5) for seed in range(400)])
    assert (few != torch.arange(5)).all()
    for sample in range(5):
        counts = few[:, sample].bincount(minlength=5)
        counts = counts[torch.arange(5) != sample].double()
        assert ((counts - 100).square() / 100).sum() < 20  # chi-squared, 3 degrees of freedom
    some = torch.tensor([[7, 19_000], [3, 4]])
    assert torch.equal(partners(key(0, 0), some, 20_000), found[some])


CROPPED = (augmentations("crop", side=6, padding=0), augmentations("mixup"), augmentations("erase", side=2))
MIXED = augmentations("chain", parts=CROPPED)


def test_a_mixture_is_made_of_both_images_as_the_first_parts_change_them():
    split = datasets("digits").build().split("train")
    order = make_order("uniform", split.labels, 16, 0)
    batch = Batches(split, MIXED.build(), order, torch.float64).shard(2, 0, 1)
    indices, epoch = order.batch(2), key(0, 0)
    numbers = draws(epoch, torch.cat([indices, other := partners(epoch, indices, 1438)]), 6)
    crop, mixup, erase = (part.build() for part in CROPPED)
    one, two = crop(split.images[torch.cat([indices, other])], numbers[:, :2]).chunk(2)
    mixture, share = mixup.mix(one, two, numbers[:16, 2:3], numbers[16:, 2:3])
    assert torch.equal((255 * batch.images).round().byte(), erase(mixture, numbers[:16, 3:]))
    assert torch.equal(batch.labels, split.labels[indices]) and torch.equal(batch.others, split.labels[other])
    wanted = batch.wanted(torch.zeros(16, 10, dtype=torch.float64))
    torch.testing.assert_close(wanted.sum(1), torch.ones(16, dtype=torch.float64))
    torch.testing.assert_close(
        wanted.max(1).values.float().clamp(max=1), torch.where(batch.labels == batch.others, torch.ones(16), share)
    )


def test_mixed_shards_make_up_the_batch_from_memory_and_from_a_file():
    split = datasets("digits").build().split("train")
    Path("pixels").write_bytes(split.images.numpy().tobytes())
    stored = Stored(Path("pixels"), (1, 8, 8), 0, torch.arange(1438), "digest")
    for sampling in ("uniform", "balanced"):
        order = make_order(sampling, split.labels, 12, 0)
        whole = Batches(split, MIXED.build(), order, torch.float32).shard(5, 0, 1)
        filed = Batches(split._replace(images=stored), MIXED.build(), order, torch.float32)
        micros = torch.stack([order.shard(5, micro, 3) for micro in range(3)])
        filed.fetch(micros, filed.key(5))
        shards = [filed.make_fetched(micros, micro, filed.key(5)) for micro in range(3)]
        for joined, expected in zip(zip(*shards, strict=True), whole, strict=True):
            assert torch.equal(torch.cat(joined), expected)


@pytest.mark.parametrize("name", [name for name in losses if getattr(losses[name], "takes_mixed", False)])
def test_a_mixed_loss_is_that_of_both_labels_by_their_shares(name):
    scores, share = torch.rand(6, 5, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    one, other = torch.arange(6) % 5, torch.arange(1, 7) * 2 % 5
    images = torch.rand(6, 1, 3, 3, dtype=torch.float64)
    batch = Batch(images, one, images, other, share)

    def loss(rows, labels):
        output = Output(scores[rows], torch.zeros(len(labels), 5, 1).double(), torch.zeros_like(images[rows]))
        return sum(losses(name).build()(output, images[rows], labels, 0.3).values(), torch.zeros(()))

    each = [share[i] * loss([i], one[[i]]) + (1 - share[i]) * loss([i], other[[i]]) for i in range(6)]
    torch.testing.assert_close(loss(list(range(6)), batch.wanted(scores)).double(), torch.stack(each).mean().double())


def test_a_training_on_mixtures_is_the_same_for_any_number_of_processes():
    run = replace(RUN, steps=3, augmentation=MIXED, sampling="balanced", dtype="float64")
    reference, _ = run_ranks(1, trained, run)
    shared, _ = run_ranks(2, trained, replace(run, run_dir=Path("shared"), accumulation=2))
    torch.testing.assert_close(shared, reference, rtol=1e-12, atol=1e-12)


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(UserError, match="A chain can mix samples but once: mixup and mixup do"):
        augmentations("chain", parts=(augmentations("mixup"), augmentations("mixup"))).build()
    with pytest.raises(UserError, match="The loss 'spread' does not take mixed labels: leave mixup out"):
        trained(replace(RUN, augmentation=MIXED, loss=losses("spread")))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("choice", EVERY)
def test_a_gpu_gives_the_same_pixels_and_waits_for_no_value(choice):
    augmentation, images, numbers = choice.build(), pictures(), drawn(choice)
    expected, given = changed(augmentation, images, numbers), (images.cuda(), numbers.cuda())
    changed(augmentation, *given)  # loads the kernels
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        found = changed(augmentation, *given)
    graph.replay()
    difference = (found.cpu().int() - expected.int()).abs()
    assert difference.max() <= 1 + 3 * (choice.name == "chain") and (difference > 0).double().mean() < 0.01


def test_scores_are_the_mean_over_the_middle_and_twelve_squares_along_the_diagonals(capsys):
    images = torch.arange(144, dtype=torch.uint8).reshape(1, 1, 12, 12)
    crop = augmentations("crop", side=4, padding=1, tested="diagonals")
    views = augmentations("chain", parts=(augmentations("flip"), crop)).build().views(images)
    assert len(views) == 13 and torch.equal(views[0], crop.build().still(images))
    places = [divmod(int(view[0, 0, 0, 0]), 12) for view in views]
    assert sorted(places[1:]) == sorted((4 + a * n, 4 + b * n) for n in (1, 2, 3) for a in (-1, 1) for b in (-1, 1))
    for view, (top, left) in zip(views, places, strict=True):
        assert torch.equal(view, images[..., top : top + 4, left : left + 4])
    with pytest.raises(UserError, match="tested diagonals needs images 6 pixels larger than side 4; they have 9x12"):
        crop.build().still(images[..., :9, :])

    for name, shade in (("dark", 20), ("bright", 140)):
        Path("set", name).mkdir(parents=True)
        for number in range(20):
            noise = np.random.default_rng(number).integers(0, 100, (14, 14), np.uint8) + np.uint8(shade)
            Image.fromarray(noise).save(f"set/{name}/{number}.png")
    data = datasets("folder", root=Path("set"), size=14, channels=1, cache=Path("cache"))
    augmentation = augmentations("crop", side=8, padding=0, tested="diagonals")
    run = replace(RUN, data=data, augmentation=augmentation, steps=3, batch_size=8, dtype="float64")
    _, selected = run_ranks(1, trained, run)
    model, test = capsnet_dist.load("run"), data.build().split("test")
    assert model.image == (1, 8, 8)
    scores = torch.stack([model.predict(view).scores for view in augmentation.build().views(test.pixels)]).mean(0)
    right = (scores.argmax(1) == test.labels).double().mean().item()
    assert right == pytest.approx(selected["accuracy"])
    command.evaluate("run", data=data, json=True)
    assert json.loads(capsys.readouterr().out)["accuracy"] == selected["accuracy"]
    predict("run", tuple(sorted(Path("set/dark").glob("*.png"))[:3]), json=True)
    told = json.loads(capsys.readouterr().out)
    pixels = torch.stack([torch.from_numpy(model.fit(Image.open(answer["file"]))) for answer in told])
    expected = torch.stack([model.predict(view).scores for view in augmentation.build().views(pixels)]).mean(0)
    torch.testing.assert_close(torch.tensor([list(answer["scores"].values()) for answer in told]).double(), expected)
