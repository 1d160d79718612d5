"""What is exported does to pictures what the training did."""

import json

import numpy as np
import pytest
import torch
from exported import ENTRY, NETWORKS, saved, session
from PIL import Image
from test_cli import refused, said

from capsnet_dist import augmentations, build, load, models, save
from capsnet_dist.data.photographs import photographs
from capsnet_dist.exporting.pictures import PictureEncoder, Preparation
from capsnet_dist.images.fit import POLICIES, Fit

CROP = {"side": 8, "padding": 0, "tested": "diagonals"}


@pytest.mark.parametrize("policy", POLICIES)
def test_a_graph_prepares_pictures_as_pillow_does_up_to_one_shade(policy):
    small = photographs()[2]
    for channels, size, picture in [
        (1, 28, small),
        (3, 33, small[:, :21]),
        (3, 64, small[:9]),
        (1, 5, small),
        (3, 8, small),
    ]:
        fit = Fit(size, policy, channels, background=77)
        found = Preparation(fit.image, fit)(torch.from_numpy(picture.copy())[None])[0].float().numpy()
        assert np.abs(found - fit(Image.fromarray(picture))).max() <= 1, (channels, size)


@pytest.fixture(scope="module")
def cropped(tmp_path_factory):
    """A run whose training cut its images, and what ONNX Runtime says by its file of pictures."""
    torch.manual_seed(0)
    model = build(models("cnn", **NETWORKS["cnn"]), (1, 8, 8), ("a", "b"))
    model.fit = Fit(14, "crop", 1)
    run = tmp_path_factory.mktemp("cropped")
    save(model, run, run=ENTRY | {"augmentation": {"name": "crop", **CROP}})
    code, out, err = said("export", run, "--pictures")
    assert (code, err) == (0, "") and "from predict, on a photograph in three sizes" in out
    opened = session(run / "export" / "pictures.onnx")
    return run, lambda pictures: opened.run(["scores", "poses"], {"pictures": pictures})[0]


def test_pictures_of_any_size_get_the_scores_of_predict(cropped, tmp_path):
    run, scores = cropped
    photograph = photographs()[2]
    for pictures in (np.stack([photograph[:77], photograph[-77:]]), photograph[None, 30:, :41]):
        np.testing.assert_allclose(scores(pictures), predicted(run, pictures, tmp_path), atol=0.01)
    assert "Leave out one of both" in refused("export", run, "--pictures", "--part", "decoder")


def test_pictures_are_stretched_where_the_training_did_not_say_how_they_became_pixels(tmp_path):
    run = saved(tmp_path / "run", "cnn")
    pictures = np.stack([photographs()[2][:77], photographs()[2][-77:]])
    with torch.no_grad():
        found = PictureEncoder(load(run), lambda pixels: [pixels])(torch.from_numpy(pictures))["scores"]
    np.testing.assert_allclose(found, predicted(run, pictures, tmp_path), atol=0.01)


def predicted(run, pictures, folder):
    """The scores that `predict` writes for these pictures."""
    files = [folder / f"{number}.png" for number in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file)
    code, out, _ = said("predict", run, *files, "--json")
    assert code == 0
    return [list(row["scores"].values()) for row in json.loads(out)]


def test_scores_of_pictures_are_the_mean_over_what_the_training_let_the_network_see(cropped):
    run, scores = cropped
    model = load(run)
    picture = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8)
    pixels = torch.from_numpy(model.fit(Image.fromarray(picture)))[None]
    views = augmentations("crop", **CROP).build().views(pixels)
    each = torch.stack([model.predict(view).scores for view in views])
    assert len(views) == 13
    np.testing.assert_allclose(scores(picture[None]), each.mean(dim=0).numpy(), atol=1e-3)
    assert (each[0] - each.mean(dim=0)).abs().max() > 5e-3, "the middle alone says something else"
