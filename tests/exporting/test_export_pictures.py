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
from capsnet_dist.exporting.pictures import Preparation
from capsnet_dist.images.fit import POLICIES, Fit


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


def test_pictures_of_any_size_get_the_scores_of_predict(tmp_path):
    run = saved(tmp_path / "run", "cnn")
    code, out, err = said("export", run, "--pictures")
    assert (code, err) == (0, "") and "from predict, on a photograph in three sizes" in out
    pictures = np.stack([photographs()[2][:77], photographs()[2][-77:]])
    scores, _ = session(run / "export" / "pictures.onnx").run(["scores", "poses"], {"pictures": pictures})
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    code, out, _ = said("predict", run, *sorted(tmp_path.glob("*.png")), "--json")
    expected = [list(row["scores"].values()) for row in json.loads(out)]
    np.testing.assert_allclose(scores, expected, atol=0.01)
    assert "Leave out one of both" in refused("export", run, "--pictures", "--part", "decoder")


def test_scores_of_pictures_are_the_mean_over_what_the_training_let_the_network_see(tmp_path):
    torch.manual_seed(0)
    model = build(models("cnn", **NETWORKS["cnn"]), (1, 8, 8), ("a", "b"))
    model.fit = Fit(14, "crop", 1)
    crop = {"side": 8, "padding": 0, "tested": "diagonals"}
    save(model, tmp_path, run=ENTRY | {"augmentation": {"name": "crop", **crop}})
    assert said("export", tmp_path, "--pictures")[::2] == (0, "")
    picture = np.random.default_rng(0).integers(0, 256, (14, 14, 3), np.uint8)
    scores, _ = session(tmp_path / "export" / "pictures.onnx").run(["scores", "poses"], {"pictures": picture[None]})
    pixels = torch.from_numpy(model.fit(Image.fromarray(picture)))[None]
    views = augmentations("crop", **crop).build().views(pixels)
    each = torch.stack([load(tmp_path).predict(view).scores for view in views])
    assert len(views) == 13
    np.testing.assert_allclose(scores, each.mean(dim=0).numpy(), atol=1e-3)
    assert (each[0] - each.mean(dim=0)).abs().max() > 5e-3, "the middle alone says something else"
