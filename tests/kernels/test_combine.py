"""Transforms of the bilinear convolution in loops of our own are those of its matrices."""

import pytest
import torch
from bits import with_any_threads

from capsnet_dist.kernels import FastConv2d, backends
from capsnet_dist.kernels.convolution import combine
from capsnet_dist.kernels.convolution.transforms import algorithm

pytest.importorskip("llvmlite")

# channels before and after, kernel, stride, padding; maps; what is special
SHAPES = [
    ((32, 64, 9, 2, 0), (4, 32, 20, 20)),  # the paper's, with two tiles on a side
    ((17, 9, 5, 1, 1), (8, 17, 11, 14)),  # nothing is a multiple of anything
    ((3, 40, 8, 2, 1), (12, 3, 19, 14)),  # four phases have the same matrices
    ((33, 33, (3, 5), (1, 2), 0), (4, 33, 9, 8)),
]


@pytest.fixture(autouse=True)
def on_any_processor(monkeypatch):
    monkeypatch.setattr(backends, "has_wide_lanes", lambda x: x.dtype is torch.float32 and x.device.type == "cpu")


@pytest.mark.parametrize("length", [128, 129, 700, 1537])
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 5), (2, 1), (13, 10), (30, 20)])
def test_a_matrix_times_rows_is_that_product(outputs, inputs, length):
    torch.manual_seed(0)
    matrix, source = torch.randn(inputs, outputs).T, torch.randn(inputs, 3, length + 5)[..., 2:-3]
    found = torch.full((outputs, 4, length + 1), torch.nan)[:, 1:, 1:]
    combine.combine(matrix, source, found, shared=True)
    exact = torch.einsum("ny,yxk->nxk", matrix.double(), source.double())
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-6 * inputs)
    again = torch.empty_like(found)
    combine.combine(matrix, source, again, shared=False)
    assert torch.equal(again, found)


@pytest.mark.parametrize("short", [(False, False), (True, False)])
def test_transforms_are_those_of_float64_at_one_point_or_all(short):
    sizes = (4, 3), (5, 3), short, "accurate"
    fast, exact = (algorithm(*sizes, dtype, torch.device("cpu")) for dtype in (torch.float32, torch.float64))
    for here, there in zip(fast, exact, strict=True):
        tiles = torch.randn(here.rows.shape[1], here.single.shape[1], 650)
        expected, found = torch.empty(sum(here.sizes), 650, dtype=torch.float64), torch.empty(sum(here.sizes), 650)
        there.all_factors(tiles.double(), expected)
        here.all_factors(tiles, found)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
        for point, at in enumerate(found.split(here.sizes)):
            one = torch.empty_like(at)
            here.factors(tiles, point, one)
            assert torch.equal(one, at)


def results(convolution, maps):
    maps = maps.detach().clone().requires_grad_()
    output = convolution(maps)
    return output.detach(), *torch.autograd.grad(output, [maps, *convolution.parameters()], output.detach().cos())


@pytest.mark.parametrize(("sizes", "shape"), SHAPES)
def test_the_convolution_and_its_gradients_are_as_exact_as_by_matrix_products(sizes, shape, monkeypatch):
    torch.manual_seed(0)
    convolution, maps = FastConv2d(*sizes, algorithm="bilinear"), torch.rand(shape)
    exact = FastConv2d(*sizes, algorithm="direct").double()
    exact.load_state_dict(convolution.state_dict())
    found, expected = results(convolution, maps), results(exact, maps.double())
    with torch.no_grad():
        assert torch.equal(convolution(maps), found[0])  # with the transformed weight kept
    monkeypatch.setattr(backends, "has_wide_lanes", lambda _: False)
    for x, other, y in zip(found, results(convolution, maps), expected, strict=True):
        assert (x - y).square().mean() <= max(2 * (other - y).square().mean(), 1e-14 * y.square().mean())


def test_bits_do_not_depend_on_threads():
    torch.manual_seed(0)
    convolution, maps = FastConv2d(*SHAPES[1][0], algorithm="bilinear"), torch.rand(SHAPES[1][1])
    with_any_threads(lambda: results(convolution, maps), 2, 3)


def test_short_rows_float64_and_narrow_registers_are_left_to_matrix_products(monkeypatch):
    monkeypatch.undo()
    rows = torch.zeros(128)
    assert not combine.fits(rows, 127)
    assert not combine.fits(rows.double(), 128)
    assert combine.fits(rows, 128) == backends.has_wide_lanes(rows)
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"avx2": True})
    backends.has_wide_registers.cache_clear()
    assert not combine.fits(rows, 128)
    backends.has_wide_registers.cache_clear()
