"""The bilinear convolution in panels is the convolution, whatever its sizes."""

import pytest
import torch
from bits import with_any_threads

from capsnet_dist.kernels import FastConv2d, backends
from capsnet_dist.kernels.convolution import panels

pytest.importorskip("llvmlite")

# channels before and after, kernel, stride, padding; maps; what is special
SHAPES = [
    ((64, 64, 9, 2, 0), (16, 64, 20, 20)),  # the paper's, in few channels
    ((31, 33, 5, 1, 1), (7, 31, 9, 13)),  # nothing is a multiple of anything, and tiles are cut short
    ((96, 160, 3, 1, 0), (24, 96, 5, 5)),  # three panels and five; more than 128 terms
    ((32, 40, 8, 2, 1), (3, 32, 19, 14)),  # four phases have the same matrices
    ((33, 33, (3, 5), (1, 2), 0), (8, 33, 9, 8)),
]


@pytest.fixture(autouse=True)
def of_any_size_on_any_processor(monkeypatch):
    monkeypatch.setattr(backends, "has_wide_lanes", lambda x: x.dtype is torch.float32 and x.device.type == "cpu")
    monkeypatch.setattr(panels, "MOST_ZEROS", 1e9)


def results(convolution, maps):
    maps = maps.detach().clone().requires_grad_()
    output = convolution(maps)
    return output.detach(), *torch.autograd.grad(output, [maps, *convolution.parameters()], output.detach().cos())


def error(found, exact):
    return ((found - exact).square().mean() / exact.square().mean()).sqrt()


@pytest.mark.parametrize(("sizes", "shape"), SHAPES)
def test_values_and_gradients_are_as_exact_as_by_matrix_products(sizes, shape, monkeypatch):
    torch.manual_seed(0)
    convolution, maps = FastConv2d(*sizes, algorithm="bilinear"), torch.rand(shape)
    exact = FastConv2d(*sizes, algorithm="direct").double()
    exact.load_state_dict(convolution.state_dict())
    assert panels.fits(maps, convolution.weight)
    found, expected = results(convolution, maps), results(exact, maps.double())
    with torch.no_grad():
        assert torch.equal(convolution(maps), found[0])  # with the transformed weight kept
    monkeypatch.setattr(panels, "fits", lambda *_: False)
    for x, other, y in zip(found, results(convolution, maps), expected, strict=True):
        assert error(x, y) <= max(1.05 * error(other, y), 2e-7)


@pytest.mark.parametrize(("sizes", "shape"), SHAPES[1:3])
def test_bits_do_not_depend_on_threads_nor_on_what_is_wanted(sizes, shape):
    torch.manual_seed(0)
    convolution, maps = FastConv2d(*sizes, algorithm="bilinear"), torch.rand(shape)
    found = with_any_threads(lambda: results(convolution, maps), 2, 5)
    output = convolution(maps.requires_grad_())
    for n, x in enumerate([maps, *convolution.parameters()]):
        alone = torch.autograd.grad(output, x, output.detach().cos(), retain_graph=True)[0]  # the input is made again
        assert torch.equal(alone, found[1 + n])


def test_each_sample_gets_the_same_bits_whatever_is_beside_it():
    torch.manual_seed(0)
    convolution, maps = FastConv2d(*SHAPES[0][0], algorithm="bilinear"), torch.rand(SHAPES[0][1])
    others = torch.rand_like(maps)
    others[5:8] = maps[5:8]
    for x, y in zip(results(convolution, maps)[:2], results(convolution, others)[:2], strict=True):
        assert torch.equal(x[5:8], y[5:8])


def test_sizes_that_leave_most_of_a_tile_empty_float64_and_narrow_registers_are_left_to_matrix_products(monkeypatch):
    monkeypatch.undo()
    maps, weight = torch.rand(16, 32, 9, 9), torch.rand(32, 32, 3, 3)
    assert panels.fits(maps, weight) == backends.has_wide_lanes(maps)
    assert not panels.fits(maps[:1], weight)
    assert not panels.fits(maps[:, :3], weight[:, :3])
    assert not panels.fits(maps, weight[..., :2])
    assert not panels.fits(maps.double(), weight.double())
    monkeypatch.setattr(backends, "has_wide_lanes", lambda _: False)
    assert not panels.fits(maps, weight)


def test_a_transformed_weight_is_not_kept_for_maps_of_other_sizes():
    torch.manual_seed(0)
    convolution = FastConv2d(*SHAPES[0][0], algorithm="bilinear")
    maps = torch.rand(SHAPES[0][1])
    expected = convolution(maps).detach()
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(panels, "fits", lambda maps, _: len(maps) > 1)
        for number in (16, 1, 16):
            torch.testing.assert_close(convolution(maps[:number]), expected[:number], rtol=1e-5, atol=1e-5)
