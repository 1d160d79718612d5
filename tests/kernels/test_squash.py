"""Capsules squashed in one pass by LLVM are those squashed step by step."""

import pytest
import torch
from bits import with_any_threads

from capsnet_dist.kernels.squash.function import one_pass, plain, squash_maps

pytest.importorskip("llvmlite")
llvm_lanes = pytest.importorskip("capsnet_dist.kernels.squash.llvm_lanes")

SIZES = [(3, 32, 6, 6, 8), (5, 21, 2, 3, 8), (1, 16, 1, 1, 24)]  # b, types, rows, columns, d: 21 types overlap


def example(sizes):
    """Maps with positions first in memory, as our convolutions leave them, and gradients of poses and lengths."""
    batch, types, rows, columns, dim = sizes
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(rows, columns, batch, types * dim, generator=generator).permute(2, 3, 0, 1)
    maps[0, :dim] = 0  # capsules that are not there
    count = types * rows * columns
    return maps, [torch.randn(batch, count, dim, generator=generator), torch.randn(batch, count, generator=generator)]


def results(squash, maps, gradients, dim):
    maps = maps.detach().requires_grad_()
    outputs = list(squash(maps, dim))
    chosen = [slice(0, 2), slice(0, 1), slice(1, 2)]  # poses, lengths, both
    backward = [torch.autograd.grad(outputs[some], maps, gradients[some], retain_graph=True)[0] for some in chosen]
    return [output.detach() for output in outputs] + backward


@pytest.mark.parametrize("sizes", SIZES)
def test_values_and_gradients_are_as_exact_as_step_by_step(sizes):
    maps, gradients = example(sizes)
    assert one_pass(maps.flatten(2), sizes[4]) is llvm_lanes
    found, steps = (results(squash, maps, gradients, sizes[4]) for squash in (squash_maps, plain))
    exact = results(plain, maps.double(), [gradient.double() for gradient in gradients], sizes[4])
    for x, other, expected in zip(found, steps, exact, strict=True):
        assert x.shape == expected.shape
        assert x.dtype is torch.float32
        error, usual = ((y - expected).square().mean() / expected.square().mean() for y in (x, other))
        assert error.sqrt() <= max(usual.sqrt(), 1.2e-7)


def test_bits_do_not_depend_on_threads_nor_those_of_a_sample_on_the_others():
    maps, gradients = example(SIZES[1])
    found = with_any_threads(lambda: results(squash_maps, maps, gradients, 8), 2, 3)
    alone = results(squash_maps, maps[2:3], [gradient[2:3] for gradient in gradients], 8)
    assert all(torch.equal(x, y[2:3]) for x, y in zip(alone, found, strict=True))


@pytest.mark.parametrize(
    ("maps", "dim"),
    [
        (torch.randn(2, 128, 4), 8),  # the numbers of a pose are not side by side
        (torch.randn(2, 4, 120).mT, 8),  # too few types
        (torch.randn(2, 4, 256).mT, 12),  # poses that do not fill vectors
        (torch.randn(2, 4, 128, dtype=torch.float64).mT, 8),
        (torch.randn(0, 4, 128).mT, 8),
    ],
)
def test_other_maps_are_squashed_step_by_step(maps, dim):
    assert one_pass(maps, dim) is None


def test_gradients_of_gradients_are_those_of_float64():
    maps, gradients = example((1, 16, 1, 2, 8))

    def twice(squash, maps, gradient):
        maps = maps.detach().requires_grad_()
        (first,) = torch.autograd.grad(squash(maps, 8).poses, maps, gradient, create_graph=True)
        return torch.autograd.grad(first.square().sum(), maps)[0]

    found = twice(squash_maps, maps, gradients[0])
    exact = twice(plain, maps.double(), gradients[0].double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)
