"""`capsnet-dist data` counts what is there, finds what is there twice, and shows what a network sees."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from test_cli import refused, said

from capsnet_dist import Split, augmentations, datasets
from capsnet_dist.analysis.pictures import find_twice, means, sheet
from capsnet_dist.data.order import draws, key


def test_counts_are_those_of_the_splits():
    code, out, err = said("data", "--json")
    found, digits = json.loads(out), datasets("digits").build()
    assert (code, err, found["image"]) == (0, "", [1, 8, 8])
    for name in ("train", "test"):
        counted = [found["classes"][label][name] for label in digits.classes]
        assert counted == digits.split(name).labels.bincount().tolist()
    assert found["twice"] == {"train": 0, "test": 0, "both": 0, "contradicted": 0}
    lines = said("data")[1].splitlines()
    assert lines[0] == "1,438 training and 359 test images, 1x8x8" and lines[3].split() == ["0", "142", "36"]


def test_images_that_are_there_twice_are_found():
    images = torch.randint(0, 256, (6, 1, 5, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    train = Split(images[[0, 1, 2, 1, 3, 1]], torch.tensor([0, 1, 0, 1, 1, 1]))
    test = Split(images[[4, 3, 1, 0, 4]], torch.tensor([0, 0, 1, 0, 0]))
    assert find_twice(train, test) == (2, 1, 3, 1)
    np.savez("a.npz", x_train=train.images[:, 0], y_train=train.labels, x_test=test.images[:, 0], y_test=test.labels)
    _, _, err = said("data", "--data", "npz", "--data.file", "a.npz")
    assert "3 test images are among the training images, 1 as another class." in err
    assert "2 training images and 1 test images repeat an earlier one" in err


def test_the_sheet_shows_the_mean_of_each_class_and_what_training_sees():
    split = datasets("digits").build().split("train")
    crop = augmentations("crop", side=6, padding=0).build()
    found = sheet(split, 11, crop, seed=3, number=4)  # one class more than there are
    assert found.shape == (11, 5, 1, 6, 6) and (found[10] == 0).all()
    mean = split.images[split.labels == 7].double().mean(0) / 255
    torch.testing.assert_close(means(split, 11)[7], mean)
    assert (found[7, 0] - mean[:, 1:7, 1:7]).abs().max() <= 0.5 / 255 + 1e-9
    indices = (split.labels == 7).nonzero()[:4, 0]
    seen = crop(split.images[indices], draws(key(3, 0), indices, crop.num_draws))
    assert torch.equal((found[7, 1:] * 255).round().byte(), seen)


def test_the_picture_is_written_or_the_user_told_why_not():
    assert said("data", "--augmentation", "shift", "--show", "sheet.png")[0] == 0
    with Image.open("sheet.png") as picture:
        width, height = picture.size
    assert width > height > 10 * 48
    assert "--show no/sheet.png: the picture cannot be written" in refused("data", "--show", "no/sheet.png")
    assert "--show sheet.xyz: the picture cannot be written" in refused("data", "--show", "sheet.xyz")
    assert not Path("no").exists()
