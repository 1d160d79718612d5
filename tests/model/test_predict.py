"""What a program may give to `Model.predict`, and what it gets back."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import test_networks_matrix
import test_networks_vector
import torch

from capsnet_dist import UserError, decoders, models

SMALL_CAPSNET = dict(channels=4, kernel=5, primary_types=2, primary_kernel=5, decoder=decoders("masked", hidden=(8,)))
SMALL = {"capsnet": SMALL_CAPSNET} | test_networks_matrix.SMALL | test_networks_vector.SMALL
IMAGES = torch.randint(256, (6, 1, 20, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def small(name):
    torch.manual_seed(0)
    return models(name, **SMALL[name]).build((1, 20, 20), 3)


def test_every_registered_network_is_tried_here():
    assert set(SMALL) == {name for name in models if models.owner(name).startswith("capsnet_dist ")}


@pytest.mark.parametrize("name", list(SMALL))
def test_networks_of_every_precision_predict(name):
    model = small(name)
    expected = model.predict(IMAGES).scores
    for dtype, tolerance in ((torch.float64, 1e-4), (torch.bfloat16, 5e-2), (torch.float16, 1e-2)):
        scores = model.to(dtype).predict(IMAGES).scores
        assert scores.dtype is (torch.float64 if dtype is torch.float64 else torch.float32)
        torch.testing.assert_close(scores.float(), expected, rtol=tolerance, atol=tolerance)
        model.to(torch.float32)
        assert next(model.parameters()).dtype is torch.float32


@pytest.mark.parametrize("dtype", [torch.int64, torch.int16, torch.int8, torch.bool])
def test_integers_whose_range_is_not_known_are_refused(dtype):
    with pytest.raises(UserError, match=r"must be uint8, from 0 to 255, .* got torch\.\w+, whose range is not known"):
        small("capsnet").predict(IMAGES.to(dtype))


@pytest.mark.parametrize(
    "pixels", [IMAGES.float(), IMAGES / 255 - 0.1, IMAGES / float("nan")], ids=["255", "below", "nan"]
)
def test_floating_point_pixels_outside_zero_and_one_are_refused(pixels):
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]; divide pixels of 0 to 255 by 255"):
        small("capsnet").predict(pixels)


@pytest.mark.parametrize("images", [np.array(["a"]), np.zeros((1, 1, 20, 20), complex)], ids=["text", "complex"])
def test_arrays_without_pixels_are_refused(images):
    with pytest.raises(UserError, match="tensor or a NumPy array of numbers"):
        small("capsnet").predict(images)


def test_arrays_of_numpy_are_taken_whatever_their_layout():
    model, array = small("capsnet"), IMAGES.numpy()
    expected = model.predict(IMAGES.flip(3)).scores
    pixels = (array / 255).astype(np.float32)
    for images in (
        array[..., ::-1],
        pixels[..., ::-1],
        pixels[..., ::-1].astype(">f4"),
        pixels[..., ::-1].astype("f8"),
    ):
        torch.testing.assert_close(model.predict(images).scores, expected)


def test_the_size_of_a_batch_changes_nothing_but_memory():
    model = small("capsnet")
    seen = []
    model.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    torch.testing.assert_close(model.predict(IMAGES, batch_size=4).scores, model.predict(IMAGES).scores)
    assert seen == [4, 2, 6]
    with pytest.raises(UserError, match="batch_size=0: must be at least 1"):
        model.predict(IMAGES, batch_size=0)


def modes(model):
    return [module.training for module in model.modules()]


def test_threads_get_the_scores_of_evaluation_also_in_training_mode():
    model = small("cnn").train()  # which has dropout
    model.get_submodule(next(name for name, _ in model.named_children())).eval()
    before = modes(model)
    expected = model.predict(IMAGES).scores
    assert modes(model) == before
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model.predict(IMAGES, batch_size=1).scores, range(40)))
    assert all(torch.equal(scores, found[0]) for scores in found) and modes(model) == before
    torch.testing.assert_close(found[0], expected)


def test_modes_come_back_when_a_prediction_fails():
    model = small("capsnet").train()

    def fail(module, given):
        assert not module.training
        raise RuntimeError("no memory")

    handle = model.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="no memory"):
        model.predict(IMAGES)
    handle.remove()
    assert all(modes(model))
