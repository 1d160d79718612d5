"""Laws of every registered routing, and dynamic routing against the paper's procedure."""

import pytest
import torch

from capsnet_dist import Votes, routings, squash
from capsnet_dist.capsules import lengths

EVERY_ROUTING = pytest.mark.parametrize("name", list(routings))


class Watched(Votes):
    """Votes that remember the couplings they were combined with."""

    def combine(self, coupling):
        self.couplings = [*getattr(self, "couplings", []), coupling]
        return super().combine(coupling)


def example(batch=3, parts=6, wholes=4, dim=5, part_dim=3, dtype=torch.float64, kind=Votes, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    poses = scale * torch.randn(batch, parts, part_dim, generator=generator, dtype=dtype)
    weight = torch.randn(parts, wholes, dim, part_dim, generator=generator, dtype=dtype)
    return kind(poses, weight), lengths(poses)


def test_dynamic_routing_is_procedure_1_of_the_paper():
    votes, activations = example()
    predictions = torch.einsum("ijdp,bip->bijd", votes.weight, votes.poses)
    for sample in range(3):
        logits = torch.zeros(6, 4, dtype=torch.float64)
        for iteration in range(3):
            coupling = logits.exp() / logits.exp().sum(dim=1, keepdim=True)
            total = [sum(coupling[i, j] * predictions[sample, i, j] for i in range(6)) for j in range(4)]
            wholes = [s * (s @ s) / (1 + s @ s) / (s @ s).sqrt() for s in total]
            if iteration < 2:
                logits = logits + torch.tensor(
                    [[predictions[sample, i, j] @ wholes[j] for j in range(4)] for i in range(6)]
                )
        poses = routings("dynamic").build(6, 3, 4, 5)(votes, activations).poses[sample]
        torch.testing.assert_close(poses, torch.stack(wholes), rtol=1e-6, atol=1e-8)


@EVERY_ROUTING
def test_couplings_are_shares_of_a_part(name):
    votes, activations = example(kind=Watched)
    routings(name).build(6, 3, 4, 5)(votes, activations)
    for coupling in votes.couplings:
        assert (coupling >= 0).all()
        torch.testing.assert_close(coupling.sum(dim=-1), torch.ones(3, 6, dtype=torch.float64))


@EVERY_ROUTING
def test_a_sample_does_not_depend_on_its_batch(name):
    votes, activations = example()
    routing = routings(name).build(6, 3, 4, 5)
    alone = routing(Votes(votes.poses[1:2], votes.weight), activations[1:2])
    torch.testing.assert_close(alone.poses, routing(votes, activations).poses[1:2])


@EVERY_ROUTING
def test_permuting_wholes_permutes_the_output(name):
    votes, activations = example()
    order = torch.tensor([2, 0, 3, 1])
    routing = routings(name).build(6, 3, 4, 5)
    permuted = routing(Votes(votes.poses, votes.weight[:, order]), activations)
    torch.testing.assert_close(permuted.poses, routing(votes, activations).poses[:, order])


@EVERY_ROUTING
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e4])
def test_values_and_gradients_are_finite(name, scale):
    votes, activations = example(dtype=torch.float32, scale=scale)
    votes.poses.requires_grad_()
    votes.weight.requires_grad_()
    result = routings(name).build(6, 3, 4, 5)(votes, activations)
    (result.poses.sum() + result.activations.sum()).backward()
    for tensor in (result.poses, result.activations, votes.poses.grad, votes.weight.grad):
        assert tensor.isfinite().all()


@EVERY_ROUTING
def test_gradients_match_finite_differences(name):
    votes, activations = example()
    routing = routings(name).build(6, 3, 4, 5).double()

    def function(poses, weight):
        return tuple(routing(Votes(poses, weight), activations))

    assert torch.autograd.gradcheck(function, (votes.poses.requires_grad_(), votes.weight.requires_grad_()))


@EVERY_ROUTING
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (1, 6, 1, 5, 3), (2, 1, 4, 1, 3)])
def test_any_size_works(name, sizes):
    batch, parts, wholes, dim, part_dim = sizes
    result = routings(name).build(parts, part_dim, wholes, dim)(*example(*sizes))
    assert result.poses.shape == (batch, wholes, dim)
    assert result.activations.shape == (batch, wholes)


def test_squash_keeps_the_direction_and_shrinks_the_length():
    vectors = torch.randn(50, 4, dtype=torch.float64) * 10
    length = vectors.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(squash(vectors), vectors / length * length**2 / (1 + length**2), rtol=1e-6, atol=0)
