"""Images that a Python program gives train as those of a data set do, and a run says where they came from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks
from PIL import Image
from test_cli import said
from test_resume import history
from test_train import RUN
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from capsnet_dist import Fit, UserError, from_arrays, from_dataset, load
from capsnet_dist.commands.evaluate import evaluate
from capsnet_dist.data import given
from capsnet_dist.train import train

SHADES = np.random.default_rng(0)
PIXELS = SHADES.integers(0, 256, (40, 8, 8, 1), np.uint8)
LABELS = np.arange(40) % 2


class Items(Dataset):
    """Pictures of Pillow, as torchvision's data sets give them."""

    classes = ("even", "odd")

    def __init__(self, sizes=(8,)):
        self.sizes = sizes

    def __len__(self):
        return 40

    def __getitem__(self, number):
        side = self.sizes[number % len(self.sizes)]
        return Image.fromarray(PIXELS[number, :, :, 0]).resize((side, side)), number % 2


class Stream(IterableDataset):
    def __iter__(self):
        return ((torch.from_numpy(PIXELS[number, :, :, 0]), torch.tensor(number % 2)) for number in range(40))


def first(data, name="train"):
    return data.build().split(name)


def whole(data):
    return first(data.replace(share=0.0))


FORMS = {
    "array": lambda: from_arrays(PIXELS, LABELS),
    "array without channels": lambda: from_arrays(PIXELS[..., 0], list(LABELS)),
    "array of floats": lambda: from_arrays(PIXELS / 255, LABELS.astype(np.int16)),
    "tensor": lambda: from_arrays(torch.from_numpy(PIXELS).permute(0, 3, 1, 2), torch.from_numpy(LABELS)),
    "tensor of floats": lambda: from_arrays(torch.from_numpy(PIXELS[..., 0]) / 255, LABELS),
    "names": lambda: from_arrays(PIXELS, ["even" if label == 0 else "odd" for label in LABELS]),
    "pictures": lambda: from_dataset(Items()),
    "part of a data set": lambda: from_dataset(Subset(Items(), range(40))),
    "tensors": lambda: from_dataset(
        TensorDataset(torch.from_numpy(PIXELS[:, None, :, :, 0]), torch.from_numpy(LABELS))
    ),
    "stream": lambda: from_dataset(Stream()),
    "arrays": lambda: from_dataset([(image, label) for image, label in zip(PIXELS, LABELS, strict=True)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images(form):
    data = FORMS[form]()
    images, labels = whole(data)
    assert torch.equal(images[:, 0], torch.from_numpy(PIXELS[..., 0])) and labels.tolist() == LABELS.tolist()
    assert data.build().classes == (
        ("even", "odd") if form in ("names", "pictures", "part of a data set") else ("0", "1")
    )
    assert len(first(data).labels) == 32 and first(data, "test").labels.bincount().tolist() == [4, 4]


def test_colours_are_last_in_arrays_and_first_in_tensors():
    pixels = SHADES.integers(0, 256, (4, 5, 6, 3), np.uint8)
    images = whole(from_arrays(pixels, [0, 1, 0, 1])).images
    assert images.shape == (4, 3, 5, 6) and np.array_equal(images.permute(0, 2, 3, 1), pixels)
    assert torch.equal(whole(from_arrays(images, [0, 1, 0, 1])).images, images)


def test_a_test_split_groups_and_folds_are_as_those_of_a_folder():
    data = from_arrays(PIXELS[:30], LABELS[:30], test=(PIXELS[30:], LABELS[30:]), classes=["even", "odd"])
    assert len(first(data).labels) == 30 and first(data, "test").labels.tolist() == LABELS[30:].tolist()
    with pytest.raises(UserError, match="--data.folds 3: the data have a test split already"):
        data.replace(folds=3).build()
    grouped = from_arrays(PIXELS, LABELS, groups=[f"person {number // 4}" for number in range(40)])
    parts = [grouped.replace(folds=5, fold=fold) for fold in range(5)]
    assert sum(len(first(part, "test").labels) for part in parts) == 40
    assert len(parts[0].build().groups("train").unique()) == 8


def test_pictures_are_brought_to_one_size_by_a_fit_that_is_saved_with_the_network():
    fit = Fit(size=8, channels=1)
    data = from_dataset(Items((8, 9)), fit=fit)
    assert data.build().fit == fit and first(data).images.shape == (32, 1, 8, 8)
    train(replace(RUN, data=data, batch_size=4, steps=1, run_dir=Path("run")))
    assert load("run").fit == fit and load("run").classes == ("even", "odd")
    with pytest.raises(
        UserError, match=r"brought to Fit\(size=8, policy='pad'.*those of the training to Fit\(size=8, "
    ):
        evaluate("run", data=from_dataset(Items((8, 9)), fit=Fit(8, "pad", 1)))


def test_labels_that_are_counted_from_1_are_said(capsys):
    assert from_arrays(PIXELS, LABELS + 1).build().classes == ("0", "1", "2")
    assert "labels go from 1 to 2, and classes from 0, which has no images. Subtract 1?" in capsys.readouterr().err
    from_arrays(PIXELS, LABELS + 1, classes=["none", "even", "odd"])
    assert not capsys.readouterr().err


MISTAKES = {
    "train images must be an array or a tensor of numbers; got <U1.": lambda: from_arrays(np.array(["a"]), [0]),
    "must be n x height x width, or with 1 to 4 channels last; a tensor has them first; got 2x3x8x8.": (
        lambda: from_arrays(np.zeros((2, 3, 8, 8), np.uint8), [0, 1])
    ),
    "a tensor must have its channels first, n x channels x height x width; got 2x8x8x3.": (
        lambda: from_arrays(torch.zeros(2, 8, 8, 3), [0, 1])
    ),
    "train images: floating point pixels must lie in [0, 1]; got 0 to 255.": (
        lambda: from_arrays(np.array([[[0.0, 255.0]]]), [0])
    ),
    "train images must be uint8, pixels from 0 to 255, or floating point in [0, 1]; got int64.": (
        lambda: from_arrays(np.zeros((2, 8, 8), np.int64), [0, 1])
    ),
    "split train: there must be a label for each image; got 40 and 39.": lambda: from_arrays(PIXELS, LABELS[1:]),
    "labels must be numbers of classes from 0, or their names, and all alike; got 0.5.": (
        lambda: from_arrays(PIXELS, LABELS + 0.5)
    ),
    "label 1 of image 1 names none of 1 classes": lambda: from_arrays(PIXELS, LABELS, classes=["even"]),
    "labels name classes that `classes` has not: b. Known: a.": lambda: from_arrays(PIXELS[:1], ["b"], classes=["a"]),
    "groups: one is needed for each of 40 images; got 2.": lambda: from_arrays(PIXELS, LABELS, groups=[0, 1]),
    "images of split test are 1x7x8, those of split train 1x8x8": (
        lambda: from_arrays(PIXELS, LABELS, test=(PIXELS[:, 1:], LABELS))
    ),
    "train images are of several sizes: 1x8x8, 1x9x9. Pictures of Pillow are brought to one by fit=Fit(size=32).": (
        lambda: from_dataset(Items((8, 9)))
    ),
    "train images: item 0 must be an image and a label; got Tensor.": lambda: from_dataset(torch.zeros(2, 8, 8)),
    "train images: item 0: an image must be a picture of Pillow, an array or a tensor; got str.": (
        lambda: from_dataset([("a.png", 0)])
    ),
    "train images: item 0: `fit` takes pictures of Pillow; got Tensor.": (
        lambda: from_dataset(TensorDataset(torch.zeros(2, 8, 8), torch.zeros(2)), fit=Fit())
    ),
    "train images: there are no items.": lambda: from_dataset([]),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_what_cannot_be_used_is_one_message(message):
    with pytest.raises(UserError) as caught:
        MISTAKES[message]()
    assert message in str(caught.value)


def test_a_run_says_that_its_images_came_from_python_goes_on_with_them_and_is_evaluated_on_them(monkeypatch, capsys):
    data = from_arrays(PIXELS, LABELS)
    run = replace(RUN, data=data, batch_size=4, validation=0.2, steps=6, resume="auto")
    run_ranks(1, train, replace(run, run_dir=Path("whole")))
    run_ranks(1, train, replace(run, run_dir=Path("parts"), steps=3))
    run_ranks(1, train, replace(run, run_dir=Path("parts"), data=from_arrays(PIXELS.copy(), LABELS)))
    assert history(Path("parts"))[-1] == history(Path("whole"))[-1]
    saved = json.loads(Path("parts/config.json").read_text())
    assert saved["run"]["data"] == {"name": "python", **data.options}
    evaluate("parts", data=data, json=True)
    assert json.loads(capsys.readouterr().out)["images"] == 8
    monkeypatch.setattr(given, "_given", {})
    code, out, err = said("evaluate", "parts")
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert (
        "The images came from a Python program, by capsnet_dist.from_arrays or from_dataset, and are in no file" in err
    )
    np.savez("data.npz", test_images=PIXELS, test_labels=LABELS, classes=["0", "1"])
    code, out, err = said("evaluate", "parts", "--data", "npz", "--data.file", "data.npz")
    assert (code, err) == (0, "") and "of 40 images" in out
