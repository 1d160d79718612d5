"""Published data sets are read as published: from real files where there are any, else from files like them."""

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from published_sets import (
    INFORMATION,
    made,
    md5,
    some,
    write_affnist,
    write_cifar,
    write_idx,
    write_smallnorb,
    write_svhn,
    write_usps,
)
from scipy.io import savemat
from torchvision import datasets as known

from capsnet_dist import UserError, datasets
from capsnet_dist.data import emnist, kmnist, smallnorb
from capsnet_dist.data.cifar import HUNDRED

DATA = Path(os.environ.get("CAPSNET_DATA", Path(__file__).parents[3] / "shared" / "data")).resolve()
DOWNLOADED = ("mnist", "mnist_translated", "fashion_mnist", "kmnist", "emnist", "usps", "svhn", "cifar10", "cifar100")
DOWNLOADED += ("smallnorb", "affnist")


def real(name):
    """The folder of a published set, where there is one."""
    return pytest.mark.skipif(not (DATA / name / "raw").is_dir(), reason=f"CAPSNET_DATA names no folder with {name}")


@pytest.fixture
def without_network(monkeypatch):
    def fail(url, *_, **__):
        raise OSError(f"no route to {url}")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", fail)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_a_set_that_is_not_there_says_where_it_belongs_and_which_flag_names_its_folder(name, without_network):
    for split in ("train", "test"):
        with pytest.raises(
            UserError, match=r"is not in .*/data.* could not be downloaded \(OSError: no route.*--data.root FOLDER"
        ):
            datasets(name).build().split(split)


@real("FashionMNIST")
def test_fashion_mnist_is_as_published():
    found = datasets("fashion_mnist", root=DATA).build()
    train, test = found.split("train"), found.split("test")
    assert train.images.shape == (60_000, 1, 28, 28) and test.images.shape == (10_000, 1, 28, 28)
    assert train.labels.bincount().tolist() == [6_000] * 10 and test.labels.bincount().tolist() == [1_000] * 10
    assert [found.classes[label] for label in test.labels[:3]] == ["Ankle boot", "Pullover", "Trouser"]
    theirs = known.FashionMNIST(DATA, train=False)
    assert torch.equal(test.images[:, 0], theirs.data) and list(found.classes) == theirs.classes


@real("MNIST")
def test_padding_adds_black_on_each_side_and_nothing_else():
    plain, padded = (datasets("mnist", root=DATA, padding=padding).build().split("test") for padding in (0, 6))
    assert padded.images.shape == (10_000, 1, 40, 40)
    assert torch.equal(padded.images[..., 6:-6, 6:-6], plain.images)
    assert padded.images.sum() == plain.images.sum() and torch.equal(padded.labels, plain.labels)


@real("MNIST")
def test_translated_digits_are_the_digits_at_places_that_never_change():
    plain = datasets("mnist", root=DATA).build().split("test")
    moved = datasets("mnist_translated", root=DATA).build().split("test")
    assert moved.images.shape == (10_000, 1, 40, 40)
    assert torch.equal(moved.images.flatten(1).sum(1), plain.images.flatten(1).sum(1))
    assert torch.equal(datasets("mnist_translated", root=DATA).build().split("test").images, moved.images)
    heights = moved.images[:, 0].amax(2).float().argmax(1) - plain.images[:, 0].amax(2).float().argmax(1)
    assert heights.unique().tolist() == list(range(13))
    assert (
        (heights.bincount() - 10_000 / 13).square() / (10_000 / 13)
    ).sum() < 35  # chi-squared, 12 degrees of freedom


def test_kmnist_is_unpacked_from_its_archives_and_only_read_at_its_own_size(monkeypatch, without_network):
    raw = Path("data/KMNIST/raw")
    images, labels = some(3, 28, 28), np.array([0, 9, 4])
    resources = []
    for kind, entries in (("images-idx3", images), ("labels-idx1", labels)):
        write_idx(raw / "plain", entries)
        archive = raw / f"t10k-{kind}-ubyte.gz"
        archive.write_bytes(gzip.compress((raw / "plain").read_bytes()))
        resources.append((archive.name, md5(archive)))
    monkeypatch.setattr(known.KMNIST, "resources", resources)
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte is damaged.* 7,840,016 bytes expected, 2,368 found"):
        datasets("kmnist").build().split("test")
    smaller = tuple(file._replace(shape=(3, *file.shape[1:])) for file in kmnist.FILES["test"])
    monkeypatch.setitem(kmnist.FILES, "test", smaller)
    found = datasets("kmnist").build().split("test")
    assert np.array_equal(found.images[:, 0], images) and found.labels.tolist() == labels.tolist()


PARTS = [
    ("balanced", 47, 0),
    ("byclass", 62, 0),
    ("bymerge", 47, 0),
    ("letters", 26, 1),
    ("digits", 10, 0),
    ("mnist", 10, 0),
]


@pytest.mark.parametrize(("part", "classes", "first"), PARTS)
def test_emnist_stands_upright_and_counts_from_0(part, classes, first, monkeypatch, without_network):
    upright, labels = some(classes, 28, 28), np.arange(classes) + first
    raw = Path("data/EMNIST/raw")
    with zipfile.ZipFile(made(raw / "gzip.zip"), "w") as archive:
        for kind, entries in (("images-idx3", upright.transpose(0, 2, 1)), ("labels-idx1", labels)):
            write_idx(raw / "plain", entries)
            archive.writestr(f"gzip/emnist-{part}-train-{kind}-ubyte.gz", gzip.compress((raw / "plain").read_bytes()))
    monkeypatch.setattr(emnist, "MD5", md5(raw / "gzip.zip"))
    emnist_part = datasets("emnist", part=part).build()
    found = emnist_part.split("train")
    assert np.array_equal(found.images[:, 0], upright) and found.images.is_contiguous()
    assert found.labels.tolist() == list(range(len(emnist_part.classes)))
    theirs = [name for name in known.EMNIST.classes_split_dict[part] if name != "N/A"]
    assert list(emnist_part.classes) == theirs


def test_an_idx_file_that_claims_more_than_it_holds_is_refused():
    raw = Path("data/EMNIST/raw")
    write_idx(raw / "emnist-digits-test-labels-idx1-ubyte", np.arange(2))
    file = raw / "emnist-digits-test-images-idx3-ubyte"
    for data in (
        b"",
        b"\0\0\x08\x03" + b"\xff" * 12,
        b"\0\0\x08\x03" + struct.pack(">3I", 2, 28, 27) + bytes(2 * 28 * 28),
    ):
        file.write_bytes(data)
        with pytest.raises(UserError, match="is damaged or another file"):
            datasets("emnist", part="digits").build().split("test")
    write_idx(file, some(3, 28, 28))
    with pytest.raises(UserError, match="has 3 images, .* 2 labels"):
        datasets("emnist", part="digits").build().split("test")


def test_usps_is_read_from_its_compressed_lines(monkeypatch, without_network):
    shades = some(4, 256)
    with pytest.MonkeyPatch.context() as published:
        write_usps(published, test=(shades, [10, 1, 2, 10]))
    with pytest.raises(UserError, match=r"usps.t.bz2 is damaged or another file: md5 8ea070ee\w+ expected, \w+ found"):
        datasets("usps").build().split("test")
    write_usps(monkeypatch, test=(shades, [10, 1, 2, 10]))
    found = datasets("usps").build().split("test")
    assert np.array_equal(found.images[:, 0].flatten(1), shades) and found.labels.tolist() == [9, 0, 1, 9]


def test_svhn_is_read_from_its_matlab_files_and_extra_only_adds_to_training(monkeypatch, without_network):
    pixels = {"train": some(3, 3, 32, 32), "extra": some(2, 3, 32, 32, seed=1), "test": some(2, 3, 32, 32, seed=2)}
    write_svhn(monkeypatch, **pixels)
    plain, more = datasets("svhn").build(), datasets("svhn", extra=True).build()
    found = plain.split("train")
    assert np.array_equal(found.images, pixels["train"]) and found.labels.tolist() == [0, 9, 8]
    assert np.array_equal(more.split("train").images, np.concatenate([pixels["train"], pixels["extra"]]))
    assert np.array_equal(more.split("test").images, pixels["test"])


@pytest.mark.parametrize(("name", "kind"), [("cifar10", known.CIFAR10), ("cifar100", known.CIFAR100)])
def test_cifar_is_checked_before_it_is_unpickled_and_then_read_channel_by_channel(
    name, kind, monkeypatch, without_network
):
    folder, pixels = Path("data") / kind.base_folder, write_cifar(monkeypatch, kind)
    found = datasets(name).build().split("train")
    assert np.array_equal(found.images, np.concatenate(pixels["train_list"])) and found.labels.tolist()[:2] == [0, 9]
    assert np.array_equal(datasets(name).build().split("test").images, pixels["test_list"][0])
    (folder / kind.test_list[0][0]).write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    for split in ("train", "test"):
        with pytest.raises(UserError, match=r"is damaged or another file: md5 \w+ expected, \w+ found. Delete it"):
            datasets(name).build().split(split)
    assert not Path("owned").exists()


def test_the_hundred_classes_of_cifar_are_in_their_order():
    assert len(HUNDRED.split()) == 100 and HUNDRED.split() == sorted(HUNDRED.split())


@pytest.fixture(params=["mat", "mat.gz"])
def norb(request, monkeypatch):
    """A smallNORB of five pairs a split; the pairs of its training images."""
    write_smallnorb(monkeypatch, request.param)
    return torch.from_numpy(some(5, 2, 96, 96))


def test_smallnorb_gives_both_cameras_or_one_or_each_for_itself(norb):
    both, left, right, separate = (
        datasets("smallnorb", cameras=cameras).build() for cameras in ("both", "left", "right", "separate")
    )
    assert torch.equal(both.split("train").images, norb) and both.split("train").labels.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(left.split("train").images, norb[:, :1]) and torch.equal(right.split("test").images, norb[:, 1:])
    found = separate.split("train")
    assert torch.equal(found.images, norb.flatten(0, 1)[:, None]) and found.labels.tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
    ]
    assert torch.equal(separate.information("train")[::2], both.information("train"))
    assert both.information("train").tolist() == [[label, *row] for label, row in enumerate(INFORMATION.tolist())]
    assert len(both.classes) == 5 and len(smallnorb.FIELDS) == 5


@pytest.mark.parametrize(("viewpoints", "familiar"), [("azimuth", [0, 2, 3, 4]), ("elevation", [0, 1, 2])])
def test_novel_viewpoints_of_smallnorb_are_those_that_training_lacks(norb, viewpoints, familiar):
    novel, known_ones = (
        datasets("smallnorb", viewpoints=viewpoints, tested=tested).build() for tested in ("novel", "familiar")
    )
    assert novel.split("train").labels.tolist() == familiar == known_ones.split("test").labels.tolist()
    assert sorted(familiar + novel.split("test").labels.tolist()) == [0, 1, 2, 3, 4]
    assert torch.equal(novel.split("train").images, norb[familiar])
    assert novel.information("test")[:, 0].tolist() == novel.split("test").labels.tolist()


def test_smallnorb_shrinks_by_the_means_of_areas(norb):
    found = datasets("smallnorb", side=48).build().split("test").images
    means = norb.float().unfold(2, 2, 2).unfold(3, 2, 2).mean((-1, -2))
    assert found.shape == (5, 2, 48, 48) and (found.float() - means).abs().max() <= 0.5


def test_damaged_smallnorb_is_refused(norb):
    (file,) = Path("data/smallnorb").glob("*training-info.mat*")
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"training-info.mat.* (is damaged or another file|cannot be unpacked)"):
        datasets("smallnorb").build().split("train")


@pytest.mark.parametrize("compressed", [False, True])
def test_affnist_is_read_row_by_row(compressed):
    images, labels = some(4, 40, 40), np.array([3, 1, 4, 1])
    for file in ("test.mat", "training_batches/1.mat", "training_batches/2.mat"):
        write_affnist(file, images, labels, do_compression=compressed)
    found = datasets("affnist").build().split("test")
    assert np.array_equal(found.images[:, 0], images) and found.labels.tolist() == labels.tolist()
    assert len(datasets("affnist", batches=2).build().split("train").labels) == 8
    savemat("data/affNIST/test.mat", {"affNISTdata": {"image": images, "label_int": labels}})
    with pytest.raises(UserError, match=r"test.mat is no file of affNIST: its images are uint8, 4 x 40 x 40"):
        datasets("affnist").build().split("test")
    Path("data/affNIST/test.mat").write_bytes(b"damaged")
    with pytest.raises(UserError, match="test.mat cannot be read: damaged, or without affNISTdata"):
        datasets("affnist").build().split("test")
    with pytest.raises(UserError, match="--data.batches 33: must be at most 32"):
        datasets("affnist", batches=33).build()


def test_arrays_of_numpy_are_taken_with_their_classes():
    colour, gray, labels = some(4, 8, 6, 3), some(2, 8, 6), np.array([[1], [0], [2], [1]], dtype=np.uint8)
    np.savez("a.npz", train_images=colour, train_labels=labels, test_images=colour[:2], test_labels=labels[:2, 0])
    np.savez(
        "b.npz", x_train=gray, y_train=np.array([0, 1]), x_test=gray, y_test=np.array([1, 1]), classes=["no", "yes"]
    )
    npz = datasets("npz", file=Path("a.npz")).build()
    found = npz.split("train")
    assert np.array_equal(found.images, colour.transpose(0, 3, 1, 2)) and found.labels.tolist() == [1, 0, 2, 1]
    assert npz.classes == ("0", "1", "2") and len(npz.split("test").labels) == 2
    assert datasets("npz", file=Path("b.npz")).build().classes == ("no", "yes")
    assert datasets("npz", file=Path("b.npz"), names=("a", "b")).build().classes == ("a", "b")
    assert np.array_equal(datasets("npz", file=Path("b.npz")).build().split("test").images[:, 0], gray)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (None, "a.npz is not there: name the file, --data.file"),
        (b"PK damaged", "a.npz cannot be read as arrays of numpy"),
        ({"x": np.zeros(3)}, "a.npz has no arrays train_images and train_labels or x_train and y_train"),
        (
            {"x_train": np.zeros((2, 4, 4)), "y_train": np.zeros(2, int)},
            "x_train must be uint8, .* is float64, 2 x 4 x 4",
        ),
        (
            {"x_train": some(2, 3, 4, 4), "y_train": np.zeros(2, int)},
            "x_train must be uint8, .* is uint8, 2 x 3 x 4 x 4",
        ),
        ({"x_train": some(2, 4, 4), "y_train": np.zeros(3, int)}, "y_train must be an integer for each of 2 images"),
        (
            {"x_train": some(2, 4, 4), "y_train": np.zeros(2)},
            "y_train must be an integer for each of 2 images.*float64",
        ),
        ({"x_train": np.array([{}, {}]), "y_train": np.zeros(2)}, "a.npz cannot be read as arrays of numpy"),
    ],
)
def test_arrays_that_are_no_images_are_refused(arrays, message):
    if isinstance(arrays, dict):
        np.savez("a.npz", **arrays)
    elif arrays:
        Path("a.npz").write_bytes(arrays)
    with pytest.raises(UserError, match=message):
        datasets("npz", file=Path("a.npz")).build().split("train")
