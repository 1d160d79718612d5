"""Routing and votes with 16 samples in the lanes of a vector give what plain PyTorch gives, in float64."""

import pytest
import torch
from bits import with_any_threads

import capsnet_dist.votes as votes_module
from capsnet_dist.kernels.gaussian import plain as plain_gaussian
from capsnet_dist.kernels.routing import plain
from capsnet_dist.kernels.routing.recompute import Recompute
from capsnet_dist.kernels.votes import plain as plain_votes
from capsnet_dist.kernels.votes.folded import Folded
from capsnet_dist.votes import Votes

lanes = pytest.importorskip("capsnet_dist.kernels.routing.llvm_lanes")
votes_lanes = pytest.importorskip("capsnet_dist.kernels.votes.llvm_lanes")
gaussian_lanes = pytest.importorskip("capsnet_dist.kernels.gaussian.llvm_lanes")

# b i p j d: samples that are not 16, 32, …, numbers of a pose that are not 8, 16, …, odd dimensions, one of everything
SIZES = [(16, 70, 8, 10, 16), (37, 21, 5, 4, 7), (50, 9, 16, 3, 6), (9, 5, 11, 4, 1), (1, 1, 1, 1, 1)]


def example(sizes, iterations=2):
    b, i, p, j, d = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, i, p), (i, j, d, p), (i, j), (iterations, b, j, d), (iterations, b, j, d), (b, j, d)]
    return [torch.randn(shape, generator=generator) / p**0.5 for shape in shapes]


def results(backend, inputs, leaky, through):
    poses, weight, prior, gathered, gradient, common = inputs
    passes = Recompute(backend, poses, weight, prior, leaky)
    passes.start_backward(gathered)
    totals = [passes.total(V) for V in gathered]
    back = [passes.gathered_gradient(number, gs) for number, gs in enumerate(gradient)]
    return [*totals, *back, *passes.input_gradients(gradient, common, through)]


def error(found, exact):
    return ((found.double() - exact).square().mean() / exact.square().mean().clamp(min=1e-30)).sqrt().item()


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("leaky", [False, True])
@pytest.mark.parametrize(("through", "priors"), [(True, False), (True, True), (False, True)])
def test_errors_are_those_of_single_roundings(sizes, leaky, through, priors):
    inputs = example(sizes)
    inputs[2] = inputs[2] if priors else None
    exact = results(plain, [x if x is None else x.double() for x in inputs], leaky, through)
    for number, (found, expected) in enumerate(zip(results(lanes, inputs, leaky, through), exact, strict=True)):
        assert found.shape == expected.shape
        assert found.dtype is torch.float32
        nothing = (expected == 0).all() or (sizes[3] == 1 and not leaky)  # one whole gets everything, whatever it is
        assert error(found, expected) < 1e-6 or (nothing and found.abs().max() < 1e-5), number


@pytest.mark.parametrize(
    ("dtype", "batch", "dim", "offset"),
    [
        (torch.float32, 16, 8, False),
        (torch.float64, 16, 8, False),
        (torch.float32, 4, 8, False),
        (torch.float32, 16, 4, False),
        (torch.float32, 16, 8, True),
    ],
)
def test_votes_in_lanes_are_left_unstored_from_a_quarter_of_the_size_on(dtype, batch, dim, offset, monkeypatch):
    poses, weight = torch.randn(batch, 6, dim, dtype=dtype), torch.randn(6, 3, 5, dim, dtype=dtype)
    given = Votes(poses, weight, torch.randn(6, 5, dtype=dtype) if offset else None)
    quarters = 1 if dtype is torch.float32 and batch >= 8 and dim == 8 and not offset else 4
    numbers = batch * 6 * 3 * 5 * 4 // quarters
    monkeypatch.setattr(votes_module, "LARGE", numbers)
    assert given.plain == (not offset)
    monkeypatch.setattr(votes_module, "LARGE", numbers + 4)
    assert not given.plain


def operands(sizes, rows):
    b, i, p, j, d = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(b, i, rows, p), (i, j, d, p), (b, i, j), (b, rows, j, d), (b, rows, j, d)]
    return [torch.randn(shape, generator=generator) / p**0.5 for shape in shapes]


def operations(votes, gaussian, inputs):
    """All of votes, and of votes and Gaussian wholes."""
    poses, weight, coupling, means, precisions = inputs
    return [
        votes.combine(poses, weight, coupling),
        votes.agreement(poses, weight, means),
        *votes.input_gradients(poses, weight, coupling, means),
        gaussian.distances(poses, weight, means, precisions),
        gaussian.spread(poses, weight, coupling, means),
        *gaussian.gradients(*inputs),
    ]


@pytest.mark.parametrize("sizes", [*SIZES, (260, 3, 8, 9, 2)])  # more samples than numbers of the parts
@pytest.mark.parametrize("rows", [1, 2])
def test_errors_of_all_operations_are_those_of_single_roundings(sizes, rows):
    inputs = operands(sizes, rows)
    exact = operations(Folded(plain_votes), plain_gaussian, [x.double() for x in inputs])
    found = operations(Folded(votes_lanes), gaussian_lanes, inputs)
    for number, (x, expected) in enumerate(zip(found, exact, strict=True)):
        assert x.shape == expected.shape
        assert x.dtype is torch.float32
        assert error(x, expected) < 1e-6, number


@pytest.mark.parametrize("sizes", [(37, 21, 8, 4, 7), (260, 3, 8, 9, 2)])
def test_bits_of_all_operations_do_not_depend_on_threads(sizes, monkeypatch):
    found = with_any_threads(lambda: operations(Folded(votes_lanes), gaussian_lanes, operands(sizes, 1)), 3)
    monkeypatch.setattr(votes_lanes, "ROOM", 1)  # one group at a time
    for x, y in zip(found, operations(Folded(votes_lanes), gaussian_lanes, operands(sizes, 1)), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-4)


def test_a_part_of_the_samples_at_a_time_changes_nothing_but_rounding(monkeypatch):
    inputs = example((50, 9, 16, 3, 6))
    expected = results(lanes, inputs, True, True)
    monkeypatch.setattr(votes_lanes, "ROOM", 2 * 16 * 18)  # two of four groups
    for x, y in zip(results(lanes, inputs, True, True), expected, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-5)


def test_each_sample_gets_the_same_bits_whatever_is_beside_it():
    poses, weight, prior, gathered, gradient, _ = example((37, 21, 8, 4, 7))
    together = lanes.gathered_gradient(poses, weight, prior, gathered[0], gradient[0], False)
    for some in (slice(0, 1), slice(20, 37)):
        alone = lanes.gathered_gradient(poses[some], weight, prior, gathered[0, some], gradient[0, some], False)
        assert torch.equal(alone, together[some])


def test_a_number_that_is_not_one_spreads_to_its_sample_alone():
    poses, weight, prior, gathered, *_ = example((20, 21, 8, 4, 7))
    poses[3, 2, 1] = torch.nan
    totals = lanes.total(poses, weight, prior, gathered[0], False)
    assert totals[3].isnan().all()
    assert totals[torch.arange(20) != 3].isfinite().all()
