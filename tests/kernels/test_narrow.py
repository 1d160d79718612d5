"""A convolution straight from the images, with its ReLU, is the library's."""

import pytest
import torch
from bits import with_any_threads
from torch.nn import functional

from capsnet_dist.kernels import FastConv2d
from capsnet_dist.kernels.convolution import conv2d, narrow

pytest.importorskip("llvmlite")

# channels before and after, kernel, stride, padding; images
SHAPES = [
    ((1, 32, 9, 1, 0), (16, 1, 12, 11)),
    ((1, 64, 5, 2, 1), (8, 1, 13, 11)),
    ((3, 96, (3, 4), (2, 1), (0, 2)), (24, 3, 9, 8)),
]


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    monkeypatch.setattr(conv2d, "FEWEST_OUTPUTS", 0)


def example(sizes, shape):
    torch.manual_seed(0)
    convolution, images = FastConv2d(*sizes, rectify=True), torch.rand(shape)
    with torch.no_grad():
        return convolution, images, torch.randn_like(convolution(images))


def results(convolution, images, gradient):
    maps = convolution(images)
    return [maps.detach(), *torch.autograd.grad(maps, list(convolution.parameters()), gradient)]


@pytest.mark.parametrize(("sizes", "shape"), SHAPES)
def test_values_and_gradients_are_those_of_the_library(sizes, shape, monkeypatch):
    convolution, images, gradient = example(sizes, shape)
    assert narrow.fits(images, convolution.weight)
    found = results(convolution, images, gradient)
    exact = FastConv2d(*sizes, algorithm="direct", rectify=True).double()
    exact.load_state_dict(convolution.state_dict())
    expected = results(exact, images.double(), gradient.double())
    monkeypatch.setattr(narrow, "fits", lambda *_: False)
    patches = results(convolution, images, gradient)
    for x, y, other in zip(found, expected, patches, strict=True):
        assert x.dtype is torch.float32
        assert (x - y).square().mean() <= max(2 * (other - y).square().mean(), 1e-14 * y.square().mean())


def test_bits_do_not_depend_on_threads_nor_those_of_a_sample_on_the_others():
    convolution, images, gradient = example(*SHAPES[2])
    maps, *_ = with_any_threads(lambda: results(convolution, images, gradient), 2, 3)
    assert torch.equal(results(convolution, images[8:16], gradient[8:16])[0], maps[8:16])


def test_a_number_that_is_not_one_is_seen_in_its_image_alone():
    convolution, images, _ = example(*SHAPES[0])
    images[3, 0, 5, 5] = torch.nan
    maps = convolution(images)
    assert maps[3].isnan().any()
    assert maps[torch.arange(16) != 3].isfinite().all()


def test_gradients_of_gradients_are_those_of_the_library():
    convolution, images, gradient = example(*SHAPES[1])
    gradient.requires_grad_()
    parameters = list(convolution.parameters())
    found = torch.autograd.grad(convolution(images), parameters, gradient, create_graph=True)
    maps = functional.conv2d(images, *parameters, stride=2, padding=1).relu()
    expected = torch.autograd.grad(maps, parameters, gradient, create_graph=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    twice = [torch.autograd.grad(sum(g.square().sum() for g in each), gradient)[0] for each in (found, expected)]
    torch.testing.assert_close(*twice, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("batch", "channels", "dtype"), [(7, 32, "float32"), (8, 33, "float32"), (8, 32, "float64")])
def test_what_does_not_come_out_even_is_multiplied_in_patches(batch, channels, dtype):
    dtype = getattr(torch, dtype)
    assert not narrow.fits(torch.zeros(batch, 1, 9, 9, dtype=dtype), torch.zeros(channels, 1, 5, 5, dtype=dtype))
