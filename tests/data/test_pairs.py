"""Images of two objects: made when needed, as the paper says, and taken by everything that takes a data set."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import run_ranks
from test_cli import said
from test_datasets import DATA, real
from test_train import RUN, trained

import capsnet_dist
from capsnet_dist import Split, UserError, augmentations, datasets, decoders, losses
from capsnet_dist.analysis.pictures import count, few, find_twice, means, sheet
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.checks import check_split, check_splits
from capsnet_dist.data.digits import Digits
from capsnet_dist.data.division import hold_out
from capsnet_dist.data.order import key, make_order
from capsnet_dist.data.pairs import PADDING, pair_up, shuffled
from capsnet_dist.objects import aligned, is_right, overlaid, present
from capsnet_dist.training.evaluation import evaluate


class PairsOfDigits(Digits):
    """Pairs of the bundled digits."""

    def split(self, name: str) -> Split:
        """The split called "train" or "test"."""
        digits = super().split(name)
        return pair_up(digits.select(torch.arange(len(digits.labels) // 6)), 3, 1, {"train": 0, "test": 1}[name])


PAIRED = replace(RUN, steps=4, dtype="float64", validation=0.05)


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    """Known while a test of this file runs, in forked processes too."""
    datasets.options("digits")  # registers our own first
    monkeypatch.setitem(datasets._plugins, "pairs_of_digits", PairsOfDigits)


def paired(**changes):
    return replace(PAIRED, data=datasets("pairs_of_digits"), **changes)


@pytest.fixture(scope="module")
def digits():
    return Digits().split("train")


@pytest.fixture(scope="module")
def pairs(digits):
    return pair_up(digits, 7, 4, seed=0)


@pytest.mark.parametrize("size", [1, 2, 3, 49, 50, 51, 64, 65, 1000])
def test_a_shuffle_is_a_permutation_and_each_key_has_another(size):
    numbers = torch.arange(size).repeat(2)
    keys = torch.tensor([3, 1 << 40]).repeat_interleave(size)
    one, other = shuffled(numbers, torch.full_like(numbers, size), keys).split(size)
    assert one.sort().values.equal(torch.arange(size)) and other.sort().values.equal(torch.arange(size))
    assert size < 49 or not one.equal(other)


def test_each_object_lies_below_as_many_different_ones_of_other_classes(digits, pairs):
    assert pairs.images.shape == (7 * 1438, 1, 16, 16) and pairs.labels.shape == (7 * 1438, 2)
    assert (pairs.labels[:, 0] != pairs.labels[:, 1]).all()
    assert torch.equal(pairs.labels[:, 0], digits.labels.repeat_interleave(7))
    partners = pairs.images.partners.reshape(-1, 7).sort(dim=1).values
    assert (partners[:, 1:] != partners[:, :-1]).all(), "a partner comes twice"
    times = pairs.images.partners.bincount(minlength=1438).double()
    assert abs(times.mean() - 7) < 1e-9 and 5 < times.var() < 9  # Poisson's would be 7


def test_an_image_is_the_clipped_sum_of_its_objects_which_are_the_objects_moved(digits, pairs):
    rows = torch.arange(0, len(pairs.labels), 11)
    images, apart = pairs.apart(rows)
    assert torch.equal(images, apart.int().sum(1).clamp(max=255).byte())
    assert torch.equal(images, pairs.images[rows]) and images.max() == 255
    chosen = [digits.images[rows // 7], digits.images[pairs.images.partners[rows].long()]]
    for place, alone in enumerate(chosen):
        ground = torch.nn.functional.pad(alone, [PADDING + 4] * 4)
        windows = ground.unfold(2, 16, 1).unfold(3, 16, 1).flatten(2, 3)  # all shifts by up to 4
        assert (windows == apart[:, place, :, None]).flatten(3).all(3).any(2).all()
    shifts = apart[:, 0].flatten(1)
    same = rows // 7 == (rows // 7).roll(1)
    assert torch.equal(shifts[same], shifts.roll(1, 0)[same]), "the lower object moves from pair to pair"


def test_a_pair_follows_from_its_number_alone(digits, pairs):
    rows = torch.randperm(len(pairs.labels))[:40]
    whole = pairs.images[rows]
    assert torch.equal(torch.cat([pairs.images[part] for part in rows.split(7)]), whole)
    assert torch.equal(pair_up(digits, 7, 4, seed=0).part(rows).images[torch.arange(40)], whole)
    assert pairs.part(rows).images.digest == pairs.images.digest != pair_up(digits, 7, 4, seed=1).images.digest
    assert torch.equal(pairs.to(torch.device("cpu")).images[rows], whole)


def test_more_pairs_than_there_are_partners_are_refused(digits):
    with pytest.raises(UserError, match="10 pairs of each object: there are only 6 objects of other classes"):
        pair_up(Split(digits.images[:9], torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])), 10, 1, 0)


@real("MNIST")
def test_multimnist_overlaps_as_in_the_paper():
    found = datasets("multimnist", root=DATA, pairs=2, test_pairs=3).build()
    train, test = found.split("train"), found.split("test")
    assert train.images.shape == (120_000, 1, 36, 36) and test.images.shape == (30_000, 1, 36, 36)
    check_splits({"train": train, "test": test}, 10, "multimnist")
    rows = torch.arange(0, 30_000, 10)
    frames = torch.full((10_000, 1, 28, 28), 1, dtype=torch.uint8)
    ground = pair_up(Split(frames, torch.arange(10_000) % 10), 3, 4, seed=1).images.apart(rows)[1].double()
    overlap = (ground.prod(1).flatten(1).sum(1) / 28**2).mean()
    assert 0.78 < overlap < 0.82  # "on average 80 % overlap" of the frames of 28x28 pixels


BAD = [
    (torch.zeros(4, 1, dtype=torch.int64), "1 labels for each image: there must be at least 2"),
    (torch.arange(12).reshape(4, 3) % 3, "and fewer than the 3 classes"),
    (torch.tensor([[0, 1], [2, 2], [0, 1], [0, 1]]), r"image 1 has a label twice: \[2, 2\]"),
    (torch.tensor([[0, 1], [2, 1], [0, 7], [0, 1]]), "label 7 of image 2 names none of 3 classes"),
    (torch.zeros(4, 1, 1, dtype=torch.int64), "labels must be one, or several, for each sample; got the shape 4x1x1"),
]


@pytest.mark.parametrize(("labels", "message"), BAD)
def test_labels_of_several_objects_are_checked(labels, message):
    with pytest.raises(UserError, match=f"place: .*{message}"):
        check_split(Split(torch.zeros(4, 1, 5, 5, dtype=torch.uint8), labels), 3, "place")


def test_splits_with_other_numbers_of_labels_are_refused(digits):
    with pytest.raises(UserError, match="images of all splits must have equally many labels"):
        check_splits({"train": digits, "test": digits._replace(labels=torch.tensor([[0, 1]] * 1438))}, 10, "odd")


def test_an_augmentation_moves_an_image_and_its_objects_alike(pairs):
    for name in ("shift", "crop", "flip", "place", "erase"):
        batches = Batches(pairs, augmentations(name).build(), make_order("uniform", pairs.labels, 32, 0), torch.float64)
        images, labels, alone, *_ = batches.shard(0, 0, 1)
        assert labels.shape == (32, 2) and alone.shape == (32, 2, *images.shape[1:])
        torch.testing.assert_close(overlaid(alone), images, msg=name)


def test_shards_make_up_the_batch(pairs):
    batches = Batches(pairs, augmentations("shift").build(), make_order("uniform", pairs.labels, 8, 0), torch.float32)
    whole = batches.shard(3, 0, 1)
    for parts in (2, 4):
        shards = [batches.shard(3, part, parts) for part in range(parts)]
        for joined, expected in zip(zip(*shards, strict=True), whole, strict=True):
            assert expected is None or torch.equal(torch.cat(joined), expected)
    assert torch.equal(batches.make(batches.order.batch(3), key(0, 0)).images, whole.images)


def test_the_margin_loss_wants_every_class_that_is_there():
    scores, labels = torch.rand(6, 5, dtype=torch.float64), torch.tensor([[0, 1], [4, 2]] * 3)
    output = capsnet_dist.Output(scores, torch.zeros(6, 5, 1), None)
    found = losses("margin").build()(output, torch.zeros(6, 1, 2, 2), labels, 0.0)["margin"]
    total = 0.0
    for row, there in zip(scores.tolist(), labels.tolist(), strict=True):
        for k, length in enumerate(row):
            total += max(0, 0.9 - length) ** 2 if k in there else 0.5 * max(0, length - 0.1) ** 2
    assert found.item() == pytest.approx(total / 6)
    assert present(labels, scores).sum() == 12


def test_each_object_is_compared_alone_or_else_their_sum():
    alone, images = torch.rand(3, 2, 1, 4, 4, dtype=torch.float64), torch.rand(3, 2, 1, 4, 4, dtype=torch.float64)
    output = capsnet_dist.Output(torch.zeros(3, 5), torch.zeros(3, 5, 1), alone)
    criterion = losses("reconstruction", weight=1.0, per="image").build()
    labels = torch.tensor([[0, 1]] * 3)
    expected = (alone - images).square().sum() / 3
    torch.testing.assert_close(criterion(output, images, labels, 0.0)["reconstruction"], expected)
    whole = images[:, 0]
    expected = (alone.sum(1).clamp(max=1) - whole).square().sum() / 3
    torch.testing.assert_close(criterion(output, whole, labels, 0.0)["reconstruction"], expected)
    with pytest.raises(UserError, match="rebuilds one image, and the data have several objects"):
        criterion(output._replace(reconstruction=whole), images, labels, 0.0)


def test_a_prediction_is_right_with_all_objects_and_given_to_its_own():
    scores = torch.tensor([[0.9, 0.1, 0.8, 0.2], [0.9, 0.1, 0.8, 0.2], [0.1, 0.7, 0.2, 0.6], [0.5, 0.5, 0.5, 0.5]])
    labels = torch.tensor([[2, 0], [2, 3], [0, 2], [1, 0]])
    assert is_right(scores, labels).tolist() == [True, False, False, True]
    assert aligned(scores, labels).tolist() == [[2, 0], [2, 0], [1, 3], [1, 0]]
    assert aligned(scores, labels[:, 0]).equal(scores.argmax(1))
    many, three = torch.rand(200, 8), torch.rand(200, 8).argsort(dim=1)[:, :3]
    found = aligned(many, three)
    assert torch.equal(found.sort(1).values, many.topk(3).indices.sort(1).values)
    assert torch.equal((found == three).all(1), is_right(many, three))


@pytest.mark.parametrize("name", [name for name in decoders if name != "none"])
def test_every_decoder_rebuilds_each_object_from_its_own_capsule(name):
    decoder = decoders(name).build((1, 12, 12), 4, 6).eval()
    poses, labels = torch.randn(3, 4, 6), torch.tensor([[0, 1], [3, 2], [1, 3]])
    single = decoder.single if name == "two_object" else decoder
    expected = torch.stack([single(poses, labels[:, 0]), single(poses, labels[:, 1])], dim=1)
    assert torch.equal(decoder(poses, labels), expected)


@pytest.mark.parametrize("loss", [name for name in losses if not getattr(losses[name], "takes_several", False)])
def test_a_loss_that_takes_one_label_is_refused_before_the_first_step(loss):
    run = paired(loss=losses(loss))
    with pytest.raises(UserError, match="takes one label an image, and these images have 2: --loss margin takes sev"):
        trained(run)


def test_a_network_of_such_a_loss_is_not_evaluated_on_pairs(pairs):
    with pytest.raises(UserError, match="The loss 'cross_entropy' takes one label an image"):
        evaluate(RUN.model.build((1, 16, 16), 10), pairs, [losses("cross_entropy").build()], Accelerator(cpu=True))


def test_pairs_cannot_be_balanced():
    with pytest.raises(UserError, match="--sampling balanced: images have several labels each"):
        trained(paired(sampling="balanced"))


def test_pairs_are_trained_on_saved_and_evaluated_alike_by_any_number_of_processes():
    model = RUN.model.replace(decoder=decoders("two_object", single=decoders("masked", hidden=(16,))))
    run = paired(model=model)
    reference, selected = run_ranks(1, trained, run)
    assert reference[-1][0] < reference[0][0]
    shared, last = run_ranks(2, trained, replace(run, run_dir=Path("two"), accumulation=2))
    torch.testing.assert_close(shared, reference, rtol=1e-12, atol=1e-12)
    code, out, _ = said("evaluate", "run", "--csv", "-")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 178 and len(lines[1].split(",")[1].split()) == 2
    assert sum(line.split(",")[3] == "yes" for line in lines[1:]) == round(selected["accuracy"] * 177)
    for measured in ("accuracy", "right_objects"):
        assert last[measured] == selected[measured]
    assert selected["accuracy"] < selected["right_objects"]
    card = Path("run/README.md").read_text()
    assert f"| selected | {100 * selected['accuracy']:.2f} % | {100 * selected['right_objects']:.2f} % | 177 |" in card
    code, out, _ = said("evaluate", "run", "--json")
    found = json.loads(out)
    assert code == 0 and found["images"] == 177 and sum(map(sum, found["confusion"])) == 2 * 177
    assert (found["accuracy"], found["right_objects"]) == (selected["accuracy"], selected["right_objects"])
    assert found["terms"]["reconstruction"] == pytest.approx(selected["reconstruction"])


def test_pairs_are_looked_at(digits, pairs):
    assert sum(count(pairs, 10)) == 2 * len(pairs.labels) and find_twice(pairs, pairs) is None
    assert len(few(digits).labels) == 1438 and len(few(pairs).labels) == len(pairs.labels)
    images = pairs.images[torch.arange(len(pairs.labels))]
    with_three = (pairs.labels == 3).any(1)
    torch.testing.assert_close(means(pairs, 10)[3], images[with_three].double().mean(0) / 255)
    rows = sheet(few(pairs), 10, augmentations("none").build(), 0, number=3)
    assert torch.equal((255 * rows[3, 1]).round().byte(), images[with_three][0])
    code, out, err = said("data", "--data", "pairs_of_digits", "--show", "sheet.png")
    assert code == 0 and out.startswith("717 training and 177 test images, 1x16x16, 2 objects each")
    assert "it was not looked for any that are there twice" in err and Path("sheet.png").exists()


def test_a_held_out_share_is_one_of_each_lower_class(pairs):
    kept, held = hold_out(pairs.labels, 0.1)
    assert len(kept) + len(held) == len(pairs.labels)
    assert torch.equal(held, hold_out(pairs.labels[:, 0], 0.1)[1])
