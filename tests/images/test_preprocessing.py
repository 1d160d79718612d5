"""Training, evaluation and prediction see the same pixels; what a data set must be is checked before the first step."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from PIL import Image
from test_cli import evaluated, said
from test_train import RUN

from capsnet_dist import Split, UserError, augmentations, build, datasets, load, models, save
from capsnet_dist.config import command_line
from capsnet_dist.data.reading import Reading
from capsnet_dist.images.fit import Fit
from capsnet_dist.train import main, train
from capsnet_dist.training.splits import _larger_share, fill_batch

FIT = Fit(size=8, policy="pad", channels=1, background=30)


def picture(file, bright, size=(20, 12)):
    """A gradient, brighter to the right or to the left."""
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    gradient = Image.linear_gradient("L").rotate(90 if bright else 270).resize(size)
    gradient.convert("RGB").save(file)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    for number in range(20):
        picture(root / f"left/{number}.png", True, (20 + number, 12))
        picture(root / f"right/{number}.jpg", False, (20, 12 + number))
    return root


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A training on a folder."""
    folder = tmp_path_factory.mktemp("run") / "run"
    data = datasets("folder", root=root, cache=root.parent / "cache", **FIT._asdict())
    run_ranks(1, train, replace(RUN, data=data, batch_size=8, steps=12, run_dir=folder))
    return folder


def test_a_run_keeps_how_its_pictures_became_pixels(run):
    assert json.loads((run / "config.json").read_text())["preprocessing"] == FIT._asdict()
    model = load(run)
    assert model.fit == FIT and model.classes == ("left", "right") and model.image == (1, 8, 8)
    save(model, "copy")
    assert load("copy").fit == FIT


def test_training_and_prediction_see_the_same_pixels(run, root):
    test = datasets("folder", root=root, cache=Path("cache"), **FIT._asdict()).build().split("test")
    files = sorted(root.glob("left/*")) + sorted(root.glob("right/*"))
    fitted = torch.stack([Reading(FIT.image, load(run).fit, FIT.background)(file).pixels for file in files])
    for pixels in test.images:
        assert (fitted == pixels).flatten(1).all(dim=1).any()
    code, out, err = said("predict", run, *files, "--json")
    assert (code, err) == (0, "")
    scores = [list(found["scores"].values()) for found in json.loads(out)]
    torch.testing.assert_close(torch.tensor(scores), load(run).predict(fitted).scores)


@pytest.mark.parametrize("cut", ["crop", "resized_crop"])
def test_prediction_sees_what_is_left_where_an_augmentation_cuts(cut, root):
    data = datasets("folder", root=root, cache=root.parent / "cache", **FIT._asdict())
    crop = augmentations(cut, side=6, **({"padding": 1} if cut == "crop" else {}))
    settings = {"augmentation": crop, "sampling": "balanced", "batch_size": 8, "steps": 12}
    run_ranks(1, train, replace(RUN, data=data, run_dir=Path("cut"), **settings))
    model, test = load("cut"), data.build().split("test")
    assert model.image == (1, 6, 6) and model.fit == FIT
    seen = crop.build().still(test.select(torch.arange(len(test.labels))).images)
    assert 100 * (model.predict(seen).labels == test.labels).double().mean() == pytest.approx(
        float(said("evaluate", "cut")[1].split()[2])
    )
    file = root / "left/3.png"
    expected = model.predict(crop.build().still(Reading(FIT.image, FIT)(file).pixels[None]))
    (found,) = json.loads(said("predict", "cut", file, "--json")[1])
    assert found["name"] == expected.names[0] and found["score"] == pytest.approx(expected.scores.max().item())
    save(model, "copy")
    assert load("copy").fit is None  # nothing there says how it was cut


def test_evaluate_prepares_other_pictures_as_the_training_did_and_matches_classes_by_name(run):
    for number in range(3):
        picture(f"other/right/{number}.png", False)
    found = evaluated(run, "--data.root", "other", "--data.share", "1")
    assert found["images"] == 3 and found["classes"] == ["left", "right"]
    assert sum(found["confusion"][0]) == 0 and sum(found["confusion"][1]) == 3
    fitted = torch.stack([Reading(FIT.image, FIT)(Path(f"other/right/{number}.png")).pixels for number in range(3)])
    assert found["confusion"][1] == load(run).predict(fitted).labels.bincount(minlength=2).tolist()


@pytest.mark.parametrize(("split", "processes"), [("test", 2), ("validation", 1)])
def test_evaluate_names_the_file_of_each_image_with_what_the_network_makes_of_it(run, root, split, processes):
    found = evaluated(run, "--split", split, "--csv", "images.csv", processes=processes)
    with open("images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == found["images"] == len({row["image"] for row in rows})
    assert [row["right"] for row in rows].count("yes") == found["confusion"][0][0] + found["confusion"][1][1]
    files = [Path(row["image"]) for row in rows]
    assert [file.parent for file in files] == [root / row["class"] for row in rows]
    answers = load(run).predict(torch.stack([Reading(FIT.image, FIT)(file).pixels for file in files]))
    assert answers.names == [row["predicted"] for row in rows]
    scores = [[float(row["score:left"]), float(row["score:right"])] for row in rows]
    torch.testing.assert_close(torch.tensor(scores), answers.scores)


def test_evaluate_refuses_unknown_classes_and_another_preprocessing(run):
    picture("other/up/0.png", False)
    picture("other/right/0.png", False)
    code, _, err = run_ranks(1, said, "evaluate", run, "--data.root", "other", "--data.share", "1")
    assert code == 2 and "takes 1x8x8: left, right. Unknown classes: up." in err
    code, _, err = run_ranks(1, said, "evaluate", run, "--data.root", "other", "--data.size", "9")
    assert code == 2 and "--data.size 9: the network was trained with 8" in err


BROKEN = [
    None,
    [],
    {},
    FIT._asdict() | {"more": 1},
    FIT._asdict() | {"size": 9},
    FIT._asdict() | {"size": 8.0},
    FIT._asdict() | {"policy": "squash"},
    FIT._asdict() | {"channels": True},
    FIT._asdict() | {"channels": 3},
    FIT._asdict() | {"background": 256},
    FIT._asdict() | {"background": False},
]


@pytest.mark.parametrize("entry", BROKEN, ids=str)
def test_a_preprocessing_that_is_not_the_networks_is_refused(entry):
    model = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3)
    save(build(model, FIT.image, tuple("ab"), FIT), "saved", preprocessing=entry)
    with pytest.raises(UserError, match=r"config.json: preprocessing must be an object of size 8, policy crop"):
        load("saved")


def test_a_network_without_preprocessing_reads_pictures_as_before():
    model = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3)
    save(build(model, (1, 8, 8), tuple("ab")), "saved")
    assert load("saved").fit is None and "preprocessing" not in json.loads(Path("saved/config.json").read_text())
    picture("a.png", True)
    code, out, err = said("predict", "saved", "a.png", "--json")
    assert code == 0 and "resized from 12x20 to 8x8" in err
    scores = load("saved").predict(Reading((1, 8, 8))(Path("a.png")).pixels[None]).scores[0]
    assert list(json.loads(out)[0]["scores"].values()) == pytest.approx(scores.tolist())


def test_a_recipe_names_its_run_after_network_and_data(root, monkeypatch):
    import runpy
    import sys

    import capsnet_dist.train as module

    recipe = Path(__file__).parents[2] / "recipes" / "train.py"
    monkeypatch.setattr(sys, "argv", [str(recipe), "--data.root", str(root), "--model", "cnn"])
    runs = []
    monkeypatch.setattr(module, "train", lambda run, **_: runs.append(run))
    runpy.run_path(str(recipe), run_name="__main__")
    assert runs[0].name == "cnn-folder" and runs[0].data.options["root"] == root
    assert command_line.parse(runs[0], []).name == "cnn-folder"


class Given:
    """A data set made of what it is given."""

    def __init__(self, train, test=None, classes=("a", "b")):
        self.splits, self.classes = {"train": train, "test": test if test is not None else train}, classes

    def split(self, name):
        return self.splits[name]


IMAGES, LABELS = torch.zeros(8, 1, 8, 8, dtype=torch.uint8), torch.arange(8) % 2
GOOD = Split(IMAGES, LABELS)
REFUSED = {
    "Data set given, split train: label 2 of image 3 names none of 2 classes: labels go from 0 to 1.": Given(
        Split(IMAGES, torch.tensor([0, 1, 0, 2, 0, 1, 0, 1]))
    ),
    "split test: label -1 of image 0": Given(GOOD, Split(IMAGES, LABELS - 1)),
    "split train: labels must be int64, numbers of classes; got int32.": Given(Split(IMAGES, LABELS.int())),
    "split train: images must be uint8, pixels from 0 to 255; got float32.": Given(Split(IMAGES.float(), LABELS)),
    "split test: there must be a label for each image; got 8 and 7.": Given(GOOD, Split(IMAGES, LABELS[:7])),
    "Data set given has no test images": Given(GOOD, Split(IMAGES[:0], LABELS[:0])),
    "Data set given has no training images.": Given(Split(IMAGES[:0], LABELS[:0]), GOOD),
    "images of split test are 1x7x8, those of split train 1x8x8": Given(GOOD, Split(IMAGES[:, :, :7], LABELS)),
    "images must be samples x channels x height x width; got the shape 8x8x8.": Given(Split(IMAGES[:, 0], LABELS)),
    "labels must be one, or several, for each sample; got the shape 8x1x1.": Given(
        Split(IMAGES, LABELS[:, None, None])
    ),
    "1 labels for each image: there must be at least 2": Given(Split(IMAGES, LABELS[:, None])),
    r"image 0 has a label twice: \[0, 0\]": Given(Split(IMAGES, LABELS[:, None].repeat(1, 2)), classes=("a", "b", "c")),
    "images must be a tensor; got ndarray.": Given(Split(IMAGES.numpy(), LABELS)),
    "must be a capsnet_dist.Split of images and labels; got tuple.": Given((IMAGES, LABELS)),
    "images have no pixels: 1x0x8.": Given(Split(IMAGES[:, :, :0], LABELS)),
    "Data set given calls its class number 1 7: a name must be": Given(GOOD, classes=("a", 7)),
    "calls its class number 1 'a'": Given(GOOD, classes=("a", "a")),
    "calls its class number 0 'a\\\\n'": Given(GOOD, classes=("a\n", "b")),
    "Data set given has one class alone: a.": Given(Split(IMAGES, 0 * LABELS), classes=("a",)),
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_data_set_that_cannot_work_is_refused_before_the_first_step(message, monkeypatch):
    monkeypatch.setitem(datasets._plugins, "given", lambda: REFUSED[message])
    with pytest.raises(UserError, match=message):
        train(replace(RUN, data=datasets("given"), batch_size=4))
    assert not Path("run").exists()


def test_a_class_that_is_nowhere_held_out_is_said(monkeypatch, capsys):
    labels = torch.tensor([0] * 20 + [1] * 3)
    images = torch.zeros(23, 1, 8, 8, dtype=torch.uint8)
    monkeypatch.setitem(datasets._plugins, "given", lambda: Given(Split(images, labels), classes=("a", "b", "c")))
    run = replace(RUN, data=datasets("given"), batch_size=4, steps=1, dry_run=True, run_dir=Path("dry"))
    train(run)
    said = capsys.readouterr().err
    assert "Warning: no training images of 1 of 3 classes: c." in said
    assert "Warning: no images held out by --validation 0.1 of 2 of 3 classes: b, c." in said
    train(replace(run, validation=0.01, run_dir=Path("none")))
    said = capsys.readouterr().err
    assert "Warning: --validation 0.01 holds out no image of any class" in said
    assert "--validation 0.2 would hold out images of every class." in said


def test_what_to_do_about_a_class_or_a_group_that_is_nowhere_held_out_is_said():
    labels = torch.arange(80) % 2
    run, persons = replace(RUN, validation=0.01), torch.arange(80) // 20
    assert _larger_share(labels, run, persons) == "--validation 0.2 would hold out images of every class."
    few = "No larger --validation holds out images of every class: it takes more {} of each."
    assert _larger_share(labels, RUN, torch.zeros(80).long()) == few.format("groups")
    assert _larger_share(torch.tensor([0] * 9 + [1]), RUN, None) == few.format("images")


def test_a_batch_that_nobody_asked_for_is_lowered_to_a_small_training_set(monkeypatch, capsys):
    monkeypatch.setitem(datasets._plugins, "given", lambda: Given(GOOD))
    run = replace(RUN, data=datasets("given"), batch_size=64, validation=0.0, steps=1, run_dir=Path("small"))
    with pytest.raises(UserError, match="--batch-size 64: there are only 8 training images: give 8 or less."):
        train(run)
    train(run, may_lower=True)
    assert "Warning: --batch-size 64: there are only 8 training images, so it is 8." in capsys.readouterr().err
    assert json.loads(Path("small/config.json").read_text())["run"]["batch_size"] == 8
    assert fill_batch(run, 11, 4, may_lower=True).batch_size == 8
    with pytest.raises(UserError, match="give 3 or less"):
        fill_batch(run, 3, 4, may_lower=True)
    asked = []
    monkeypatch.setattr("capsnet_dist.train.train", lambda run, *, may_lower: asked.append((run.batch_size, may_lower)))
    for words in ([], ["--batch-size", "32"]):
        main(run, words)
    assert asked == [(64, True), (32, False)]
