"""What the page is told: for every network, and for any images and classes."""

import base64
import json
from typing import Any

import numpy as np
import pytest
import test_networks_matrix
import test_networks_vector
import torch
from PIL import Image
from stages import SMALL, png, stage

from capsnet_dist import UserError, decoders, models, routings
from capsnet_dist.demo.answers import ANSWERS, about, winners
from capsnet_dist.demo.stage import Stage
from capsnet_dist.images.fit import Fit
from capsnet_dist.text import to_json

NETWORKS = {
    name: {**module.SMALL.get(name, {}), **given[-1]}
    for module in (test_networks_vector, test_networks_matrix)
    for name, given in module.LEARNING.items()
}


def ask(stages, name, **question) -> Any:
    """An answer, as it arrives."""
    read, answer = ANSWERS[name]
    return json.loads(to_json(answer(read(json.dumps(question).encode(), stages), stages)))


def pixels_of(text, image):
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(image)


@pytest.fixture(scope="module")
def small():
    return stage()


def everything(one: Stage) -> dict[str, Any]:
    """All that the page asks about a test image."""
    (facts,) = json.loads(to_json(about([one])))["runs"]
    look = ask([one], "look", run=0, test=1)
    where = {"run": 0, "pixels": look["pixels"]}
    offsets = [[0.1] * facts["dim"], [0] * facts["dim"]]
    return {
        "facts": facts,
        "look": look,
        "rebuild": ask([one], "rebuild", **where, offsets=offsets, **{"class": look["class"]}),
        "effects": ask([one], "effects", **where, **{"class": look["class"]}),
        "routing": ask([one], "routing", **where, classes=[look["predicted"]]),
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_answers_and_says_what_there_is_not(name):
    one = stage(models(name, **NETWORKS[name]), (1, 28, 28), 10)
    found = everything(one)
    facts, look = found["facts"], found["look"]
    assert facts["network"] == name and len(look["scores"]) == 10 and len(look["pose"]) == facts["dim"]
    assert look["scores"][look["predicted"]] == max(look["scores"]) and look["truth"] == [1]
    assert facts["rebuilds"] == (look["rebuilt"] is not None) == (found["effects"]["effects"] is not None)
    assert facts["rebuilds"] == (found["rebuild"]["images"] is not None)
    routing = found["routing"]
    assert "reason" in routing or len(routing["maps"]) == len(routing["entropy"]) == len(routing["agreement"])


@pytest.mark.parametrize("image", [(1, 8, 8), (3, 12, 10), (2, 9, 15)], ids=str)
@pytest.mark.parametrize("classes", [1, 2, 40])
def test_any_image_and_number_of_classes_works(image, classes):
    found = everything(stage(SMALL, image, classes))
    assert len(base64.b64decode(found["look"]["rebuilt"])) == np.prod(image)
    assert found["facts"]["drawable"] == (image[0] != 2)
    assert ("reason" in found["routing"]) == (classes == 1)


def test_couplings_sum_to_an_even_share_and_the_last_are_most_decided(small):
    routing = everything(stage(SMALL.replace(routing=routings("dynamic", iterations=4))))["routing"]
    assert len(routing["maps"]) == 4 and np.allclose(routing["maps"][0], 0)
    assert routing["entropy"][0] == 1 and routing["entropy"] == sorted(routing["entropy"], reverse=True)
    pixels = ask([small], "look", run=0, test=0)["pixels"]
    all_maps = ask([small], "routing", run=0, pixels=pixels, classes=[0, 1, 2, 3, 4])["maps"]
    assert np.allclose(np.sum(all_maps, axis=1), 0, atol=1e-4)


def test_what_is_rebuilt_is_what_the_network_rebuilds_from_moved_poses(small):
    look = ask([small], "look", run=0, test=3, **{"class": 2})
    images = torch.from_numpy(pixels_of(look["pixels"], (1, 1, 8, 8)).copy()) / 255
    with torch.no_grad():
        poses = small.model(images).poses
        assert np.allclose(look["pose"], poses[0, 2], atol=1e-5)
        poses[0, 2, 5] += 0.3
        wanted = small.model.rebuild(poses, torch.tensor([2]))
    offsets = [[0.3 if number == 5 else 0 for number in range(16)]]
    answer = ask([small], "rebuild", run=0, pixels=look["pixels"], offsets=offsets, **{"class": 2})
    assert np.abs(pixels_of(answer["images"][0], (8, 8)) - 255 * wanted.numpy()[0, 0]).max() <= 0.51


def test_two_winners_are_both_rebuilt_and_no_more_than_is_shown(small, monkeypatch):
    decoded = []
    with small.model.decoder.register_forward_hook(lambda *given: decoded.append(1)):
        alone = ask([small], "look", run=0, test=5)
        assert alone["beside"] is None and len(decoded) == 1
        monkeypatch.setattr("capsnet_dist.demo.answers.LONG", 0.0)
        first, second = ask([small], "look", run=0, test=5)["winners"]
        assert len(decoded) == 3
        third = ({0, 1, 2} - {first, second}).pop()
        for of, other in ((first, second), (second, first), (third, first)):
            look = ask([small], "look", run=0, test=5, **{"class": of})
            where = {"run": 0, "pixels": look["pixels"], "offsets": [[0] * 16]}
            images = [ask([small], "rebuild", **where, **{"class": label})["images"][0] for label in (of, other)]
            assert [look["rebuilt"], look["beside"]] == [images[0], {"class": other, "rebuilt": images[1]}]


def test_the_pixels_are_those_of_the_preprocessing_of_the_run():
    one = stage(SMALL, (3, 8, 8))
    one.model.fit = Fit(size=8, policy="pad", channels=3, background=9)
    picture = np.random.default_rng(0).integers(256, size=(20, 30, 3), dtype=np.uint8)
    look = ask([one], "look", run=0, picture=png(picture))
    assert (pixels_of(look["pixels"], (3, 8, 8)) == one.model.fit(Image.fromarray(picture))).all()


def test_dark_on_light_is_turned_where_the_network_knows_light_on_dark(small):
    light = np.full((8, 8), 250)
    light[3:5, 3:5] = 0
    found = {how: ask([small], "look", run=0, picture=png(light), polarity=how) for how in ("auto", "keep", "turn")}
    assert small.ground == "dark"
    assert [found[how]["turned"] for how in ("auto", "keep", "turn")] == [True, False, True]
    assert (pixels_of(found["auto"]["pixels"], (8, 8)) == 255 - light).all()
    assert (pixels_of(found["keep"]["pixels"], (8, 8)) == light).all()
    assert not ask([small], "look", run=0, picture=png(255 - light))["turned"]
    assert not ask([stage(tests=False)], "look", run=0, picture=png(light))["turned"]  # nobody knows better


def test_two_winners_are_two_long_capsules():
    lengths = stage(tests=False)
    assert lengths.kind == "length"
    assert winners(torch.tensor([0.1, 0.6, 0.9]), lengths) == [2, 1]
    assert winners(torch.tensor([0.1, 0.4, 0.45]), lengths) == []
    cnn = stage(models("cnn", channels=(4,), kernels=(3,), pooling=1, hidden=(4,), dropout=0.0))
    assert cnn.kind == "score" and winners(torch.tensor([-3.0, 5.0, 7.0]), cnn) == [2]


def test_two_networks_look_at_the_same_test_image():
    pair = [stage(), stage(SMALL, (3, 12, 12))]
    first, second = (ask(pair, "look", run=run, test=4) for run in (0, 1))
    small, large = pixels_of(first["pixels"], (8, 8)), pixels_of(second["pixels"], (3, 12, 12))
    assert (large[0] == np.asarray(Image.fromarray(small).resize((12, 12), Image.Resampling.BILINEAR))).all()
    assert first["truth"] == second["truth"]


def test_it_looks_at_more_test_images_until_it_knows_what_is_usual(monkeypatch):
    monkeypatch.setattr("capsnet_dist.demo.stage.SECONDS", 0)
    one = stage(number=90)
    known = [len(one.known.images)]
    while one.look_further():
        known.append(len(one.known.images))
    assert known == [32, 48, 64, 80, 90]
    usual = {label: one.usual(label) for label in range(5)}
    low, high = next(found for found in usual.values() if found is not None)
    assert (low <= high).all() and not one.look_further()


def test_what_there_is_not_is_said():
    bare = stage(SMALL.replace(decoder=decoders("none")), tests=False)
    (facts,) = about([bare])["runs"]
    assert (facts["rebuilds"], facts["tests"], facts["missing"]) == (False, 0, "none given")
    with pytest.raises(UserError, match="There are no test images"):
        ask([bare], "look", run=0, test=0)


def test_a_frame_is_where_objects_lie_on_the_images(small):
    assert small.frame.side == 0.5 and (small.frame.x, small.frame.y) == (0.5, 0.5)
    assert stage(tests=False).frame is None
