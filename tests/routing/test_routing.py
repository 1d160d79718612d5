"""Laws of every registered routing."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from capsnet_dist import Capsules, Grid, UserError, Votes, layers, routings, squash
from capsnet_dist.capsules import lengths

PARTS, PART_DIM, WHOLES, DIM = 6, 3, 4, 5  # all different: an axis is known by its size

NAMES = list(routings)
EVERY_ROUTING = pytest.mark.parametrize("name", NAMES)
ITERATIVE = [name for name in NAMES if "iterations" in routings.options(name)]

# Gaussian wholes and self-routing weight each part by its activation, and divide by the total afterwards.
WEIGH_BY_ACTIVATION = ("em", "heinsen", "self_routing", "variational_bayes")
# Self-routing asks the part, not the votes; uniform routing asks nobody.
BLIND_TO_AGREEMENT = ("self_routing", "uniform")


class Watched(Votes):
    """Votes that remember the couplings they were combined with."""

    def combine(self, coupling):
        self.couplings = [*getattr(self, "couplings", []), coupling]
        return super().combine(coupling)


def example(batch=3, parts=PARTS, wholes=WHOLES, dim=DIM, part_dim=PART_DIM, dtype=torch.float64, kind=Votes, scale=1):
    generator = torch.Generator().manual_seed(0)
    poses = scale * torch.randn(batch, parts, part_dim, generator=generator, dtype=dtype)
    weight = torch.randn(parts, wholes, dim, part_dim, generator=generator, dtype=dtype)
    return kind(poses, weight), lengths(squash(poses))


def build(name, *sizes, dtype=torch.float64, **options):
    """A routing whose parameters and buffers are all different, as after some training."""
    routing = routings(name, **options).build(*(sizes or (PARTS, PART_DIM, WHOLES, DIM))).to(dtype)
    generator = torch.Generator().manual_seed(1)
    for tensor in routing.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.1 * torch.rand(tensor.shape, generator=generator, dtype=dtype)
    return routing


def reorder(routing, size, order):
    """The same routing with its parts or wholes in another order: those of its axes that have this size."""
    other = routings(next(name for name in NAMES if type(routing) is routings[name])).build(
        routing.parts, routing.part_dim, routing.wholes, routing.dim
    )
    state = routing.state_dict()
    for key, tensor in state.items():
        for axis in range(tensor.ndim):
            if tensor.shape[axis] == size:
                state[key] = state[key].index_select(axis, order)
    other.double().load_state_dict(state)
    return other.train(routing.training)


@EVERY_ROUTING
def test_a_part_gives_away_what_it_has(name):
    """Couplings are not negative, and those of a part add up to one, or to its activation."""
    votes, activations = example(kind=Watched)
    routings(name).build(PARTS, PART_DIM, WHOLES, DIM).double()(votes, activations)  # self_attention's bias is still 0
    first = 1 if name == "self_attention" else 0  # which adds all votes up before it couples any
    for coupling in votes.couplings[first:]:
        assert (coupling >= 0).all()
        if name == "max_min":
            torch.testing.assert_close(coupling.amax(dim=-1), torch.ones_like(activations))
        else:
            has = activations if name in WEIGH_BY_ACTIVATION else torch.ones_like(activations)
            torch.testing.assert_close(coupling.sum(dim=-1), has)


def test_a_leaky_part_keeps_something_for_itself():
    votes, activations = example(kind=Watched)
    build("dynamic", leaky=True)(votes, activations)
    for coupling in votes.couplings:
        assert (coupling.sum(dim=-1) < 1).all()
    torch.testing.assert_close(votes.couplings[0], torch.full_like(votes.couplings[0], 1 / (WHOLES + 1)))


@EVERY_ROUTING
def test_permuting_wholes_permutes_the_output(name):
    votes, activations = example()
    order = torch.tensor([2, 0, 3, 1])
    routing = build(name)
    expected = routing(votes, activations)
    permuted = reorder(build(name), WHOLES, order)(Votes(votes.poses, votes.weight[:, order]), activations)
    torch.testing.assert_close(permuted.poses, expected.poses[:, order])
    torch.testing.assert_close(permuted.activations, expected.activations[:, order])


@EVERY_ROUTING
def test_the_order_of_parts_does_not_matter(name):
    votes, activations = example()
    order = torch.tensor([3, 5, 0, 4, 2, 1])
    expected = build(name)(votes, activations)
    permuted = reorder(build(name), PARTS, order)(
        Votes(votes.poses[:, order], votes.weight[order]), activations[:, order]
    )
    torch.testing.assert_close(permuted, expected)


@EVERY_ROUTING
def test_a_sample_does_not_depend_on_its_batch(name):
    votes, activations = example()
    routing = build(name).eval()
    alone = routing(Votes(votes.poses[1:2], votes.weight), activations[1:2])
    together = routing(votes, activations)
    torch.testing.assert_close(alone.poses, together.poses[1:2])
    torch.testing.assert_close(alone.activations, together.activations[1:2])


@EVERY_ROUTING
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1e-8, 1.0, 1e4])
def test_values_and_gradients_are_finite(name, scale):
    votes, activations = example(dtype=torch.float32, scale=scale)
    votes.poses.requires_grad_()
    votes.weight.requires_grad_()
    activations.requires_grad_()
    routing = build(name, dtype=torch.float32)
    result = routing(votes, activations)
    (result.poses.sum() + result.activations.sum()).backward()
    gradients = [tensor.grad for tensor in (votes.poses, votes.weight, activations, *routing.parameters())]
    for tensor in (*result, *(gradient for gradient in gradients if gradient is not None)):
        assert tensor.isfinite().all()


@EVERY_ROUTING
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_layer_under_autocast_routes_in_float32(name, dtype):
    layer = layers("dense", wholes=WHOLES, dim=DIM, routing=routings(name)).build(Grid(PARTS, 1, 1, PART_DIM))
    poses = (100 * torch.randn(2, PARTS, PART_DIM, generator=torch.Generator().manual_seed(0))).to(dtype)
    below = Capsules(poses, lengths(squash(poses.float())).to(dtype))
    with torch.autocast("cpu", dtype):
        result = layer(below)
    expected = layer(Capsules(*(tensor.float() for tensor in below)))
    torch.testing.assert_close(result, expected, rtol=0, atol=0)
    (result.poses.sum() + result.activations.sum()).backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in layer.parameters())


@EVERY_ROUTING
def test_gradients_reach_every_parameter(name):
    switches = {key: True for key, option in routings.options(name).items() if option.type is bool}
    votes, activations = example()
    votes.poses.requires_grad_()
    routing = build(name, **switches)
    result = routing(votes, activations)
    generator = torch.Generator().manual_seed(2)
    weighed = [tensor * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype) for tensor in result]
    sum(tensor.sum() for tensor in weighed).backward()
    for key, parameter in (("votes", votes.poses), *routing.named_parameters()):
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-8, key


@EVERY_ROUTING
def test_gradients_match_finite_differences(name):
    parts, part_dim, wholes, dim = 3, 2, 3, 2
    votes, activations = example(2, parts, wholes, dim, part_dim)
    routing = build(name, parts, part_dim, wholes, dim)
    leaves = [tensor.requires_grad_() for tensor in (votes.poses, votes.weight, activations.detach())]

    def function(poses, weight, activations, *parameters):
        return tuple(tensor for tensor in routing(Votes(poses, weight), activations) if tensor.requires_grad)

    assert torch.autograd.gradcheck(function, (*leaves, *routing.parameters()))


@EVERY_ROUTING
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (1, 6, 1, 5, 3), (2, 1, 4, 1, 3), (1, 7, 2, 2, 1)])
def test_any_size_works(name, sizes):
    batch, parts, wholes, dim, part_dim = sizes
    result = build(name, parts, part_dim, wholes, dim).eval()(*example(*sizes))
    assert result.poses.shape == (batch, wholes, dim)
    assert result.activations.shape == (batch, wholes)
    assert all(tensor.isfinite().all() for tensor in result)


@EVERY_ROUTING
def test_activations_say_what_the_routing_claims(name):
    votes, activations = example(batch=4)
    routing = build(name)
    result = routing(votes, activations)
    assert (result.activations >= 0).all() and (result.activations <= 1).all()
    assert routing.makes_activations == bool((result.activations != 1).any())
    others = routing(votes, activations.flip(1))
    assert routing.needs_activations != torch.equal(others.poses, result.poses)


@EVERY_ROUTING
def test_agreement_wins(name):
    """Parts whose votes for one whole agree, and for the others do not, give it more than an even share."""
    if name in BLIND_TO_AGREEMENT:
        pytest.skip("couplings do not follow agreement")
    generator = torch.Generator().manual_seed(0)
    vote = 3 * torch.nn.functional.normalize(torch.randn(12, WHOLES, DIM, generator=generator).double(), dim=-1)
    vote[:8, 0] = vote[0, 0] + 0.1 * torch.randn(8, DIM, generator=generator)
    votes = Watched(torch.ones(2, 12, 1).double(), vote[..., None])
    routings(name).build(12, 1, WHOLES, DIM).double()(votes, torch.full((2, 12), 0.9).double())
    share = votes.couplings[-1] / votes.couplings[-1].sum(dim=-1, keepdim=True)
    assert (share[:, :8, 0] > 1.1 / WHOLES).all()


@EVERY_ROUTING
def test_weights_survive_a_file(name):
    votes, activations = example(dtype=torch.float32)
    switches = {key: True for key, option in routings.options(name).items() if option.type is bool}
    routing = build(name, dtype=torch.float32, **switches).eval()
    save_file(routing.state_dict(), "routing.safetensors")
    other = routings(name, **switches).build(PARTS, PART_DIM, WHOLES, DIM).eval()
    other.load_state_dict(load_file("routing.safetensors"))
    torch.testing.assert_close(other(votes, activations), routing(votes, activations), rtol=0, atol=0)


@EVERY_ROUTING
def test_it_exports_for_any_batch(name):
    layer = layers("dense", wholes=WHOLES, dim=DIM, routing=routings(name)).build(Grid(PARTS, 1, 1, PART_DIM)).eval()

    def below(batch):
        votes, activations = example(batch, dtype=torch.float32)
        return Capsules(votes.poses, activations)

    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (below(2),), dynamic_shapes=(Capsules({0: batch}, {0: batch}),))
    torch.testing.assert_close(program.module()(below(5)), layer(below(5)))


@pytest.mark.parametrize("name", ITERATIVE)
def test_no_iteration_is_refused(name):
    with pytest.raises(UserError, match="iterations 0: must be at least 1"):
        routings(name, iterations=0).build(PARTS, PART_DIM, WHOLES, DIM)
    with pytest.raises(UserError, match="iterations=0: routing needs at least 1"):
        routings[name](PARTS, PART_DIM, WHOLES, DIM, iterations=0)


@pytest.mark.parametrize("name", ITERATIVE)
def test_iterations_change_the_outcome(name):
    votes, activations = example()
    poses = [build(name, iterations=number)(votes, activations).poses for number in (1, 2, 3)]
    assert not torch.allclose(poses[0], poses[1])
    assert not torch.allclose(poses[1], poses[2])


@pytest.mark.parametrize("option", [{"final_beta": 0.0}, {"min_variance": 0.0}, {"momentum": 1.0}])
def test_constants_of_em_out_of_range_are_refused(option):
    with pytest.raises(UserError, match=f"{next(iter(option))} .*: must be"):
        routings("em", **option).build(PARTS, PART_DIM, WHOLES, DIM)
    with pytest.raises(UserError, match=f"{next(iter(option))}="):
        routings["em"](PARTS, PART_DIM, WHOLES, DIM, **option)


def test_variational_bayes_does_not_train_on_a_single_sample():
    with pytest.raises(UserError, match="train on 2 or more"):
        build("variational_bayes")(*example(batch=1))


@EVERY_ROUTING
def test_print_shows_sizes_and_options(name):
    text = repr(build(name))
    assert f"{PARTS} x {PART_DIM} -> {WHOLES} x {DIM}" in text
    assert name not in ITERATIVE or "iterations=" in text


def test_squash_keeps_the_direction_and_shrinks_the_length():
    vectors = torch.randn(50, 4, dtype=torch.float64) * 10
    length = vectors.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(squash(vectors), vectors / length * length**2 / (1 + length**2), rtol=1e-6, atol=0)
