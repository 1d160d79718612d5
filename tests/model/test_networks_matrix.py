"""Networks of matrix capsules, variational Bayes, self-routing and attention: counts, shapes, gradients, learning."""

import os
from pathlib import Path

import pytest
import torch

from capsnet_dist import (
    Capsules,
    Grid,
    UserError,
    build,
    datasets,
    decoders,
    layers,
    load,
    models,
    primaries,
    routings,
    save,
    stems,
)
from capsnet_dist.geometry import Windows, require_maps

SMALL_STEM = stems("resnet", widths=(8, 16), blocks=(1, 1), shortcut="project")
SMALL = {
    "matrix_capsnet": dict(channels=8, primary_types=4, types=(4, 4)),
    "variational_capsnet": dict(channels=8, primary_types=4, types=(4, 4)),
    "self_routing_resnet": dict(stem=SMALL_STEM, depth=2, types=4, dim=8),
    "attention_resnet": dict(stem=SMALL_STEM, primary_types=4, types=(4, 4), hidden=(6,), side=3),
}
EVERY_NETWORK = pytest.mark.parametrize("name", list(SMALL))


def small(name, image=(1, 20, 20), classes=3, **options):
    torch.manual_seed(0)
    return models(name, **{**SMALL[name], **options}).build(image, classes)


def active(poses):
    return Capsules(poses, torch.ones_like(poses[..., 0]))


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


# Parameter counts --------------------------------------------------------------------------------------------------


def test_matrix_capsules_count_what_the_paper_does():
    """On smallNORB. Both published numbers are cut, not rounded, to two digits: 316,650 is 310 K, 68,618 is 68 K.

    Nothing smaller can be meant: the matrices of C and D alone are 2 x 9 x 32 x 32 x 16 = 294,912, and with those of
    the primary capsules, 32 x 32 x 17 = 17,408, it is 312,320. A bias for each primary number and activation, which
    neither the paper nor the authors' code has, would add 544 and 136: 317,194 and 68,754.
    """
    large = models("matrix_capsnet").build((2, 32, 32), 5)
    assert count(large) == (2 * 25 + 1) * 32 + 32 * 32 * 17 + 2 * (9 * 32 * 32 * 16 + 2 * 32) + 32 * 5 * 16 + 2 * 5
    assert count(large) == 316_650
    tiny = models("matrix_capsnet", channels=64, primary_types=8, types=(16, 16)).build((2, 32, 32), 5)
    assert count(tiny) == 68_618


def test_variational_capsules_count_what_the_authors_code_does_but_for_parameters_without_effect():
    """68.7 K are 68,714. 2 (16 + 16 + 5) of them, beta_a and beta_u, are subtracted again by the batch normalisation
    that follows them, so our routing has none."""
    model = models("variational_capsnet").build((2, 32, 32), 5)
    assert count(model) + 2 * (16 + 16 + 5) == 68_714


@pytest.mark.parametrize(("depth", "millions", "exactly"), [(1, 0.9, 931_664), (2, 3.2, 3_187_536)])
def test_self_routing_networks_count_what_the_paper_does(depth, millions, exactly):
    model = models("self_routing_resnet", depth=depth).build((3, 32, 32), 10)
    assert count(model) == exactly
    assert round(exactly / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("depth", "routing", "rows", "tenths", "exactly"),
    [
        (1, "dynamic", 1, 58, 5_826_384),
        (2, "dynamic", 1, 42, 4_254_544),
        (1, "em", 4, 9, 911_204),
        (2, "em", 4, 8, 813_988),
    ],
)
def test_the_baselines_of_self_routing_count_what_the_paper_does(depth, routing, rows, tenths, exactly):
    """DR-1, DR-2, EM-1 and EM-2: 5.8 M, 4.2 M, 0.9 M and 0.8 M, cut to tenths of a million."""
    options = dict(depth=depth, class_poses="matrix", rows=rows, routing=routings(routing))
    assert count(models("self_routing_resnet", **options).build((3, 32, 32), 10)) == exactly
    assert exactly // 100_000 == tenths


@pytest.mark.parametrize(
    ("options", "classes", "millions", "exactly"),
    [({}, 10, 1.83, 1_828_817), (dict(side=6, hidden=(20,)), 100, 2.80, 2_799_629)],
)
def test_attention_networks_count_what_the_authors_code_does(options, classes, millions, exactly):
    model = models("attention_resnet", **options).build((3, 32, 32), classes)
    assert count(model) == exactly
    assert round(exactly / 1e6, 2) == millions


def test_resnet_20_without_its_classifier_counts_what_the_paper_does():
    """0.27 M (He et al., 2016, table 6) with the 650 of the classifier."""
    assert count(stems("resnet").build((3, 32, 32))) == 269_722 - 650 == 269_072


# Shapes, gradients, repetition ---------------------------------------------------------------------------------------


@EVERY_NETWORK
@pytest.mark.parametrize(("image", "classes", "batch"), [((1, 17, 19), 3, 3), ((3, 22, 17), 1, 2), ((2, 28, 28), 7, 1)])
def test_any_image_size_channels_classes_and_batch_work(name, image, classes, batch):
    model = small(name, image, classes, decoder=decoders("masked", hidden=(8,)))
    if name == "variational_capsnet" and batch == 1:
        model.eval()  # it normalises over the batch
    output = model(torch.rand(batch, *image), torch.zeros(batch, dtype=torch.int64))
    assert output.scores.shape == (batch, classes)
    assert output.poses.shape[:2] == (batch, classes)
    assert output.reconstruction.shape == (batch, *image)
    assert model.predict(torch.zeros(batch, *image, dtype=torch.uint8)).labels.shape == (batch,)


@EVERY_NETWORK
def test_nothing_is_rebuilt_unless_asked(name):
    assert small(name)(torch.rand(2, 1, 20, 20)).reconstruction is None


@EVERY_NETWORK
def test_gradients_of_the_scores_reach_every_parameter(name):
    model = small(name)
    with torch.no_grad():  # away from where self-routing begins: weights of zero, past which nothing flows
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.std(correction=0).clamp(min=0.1) * torch.randn_like(parameter))
    (model(torch.rand(4, 1, 20, 20)).scores * torch.randn(4, 3)).sum().backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@EVERY_NETWORK
def test_evaluation_repeats_and_does_not_depend_on_the_batch(name):
    model, images = small(name).double(), torch.rand(4, 1, 20, 20, dtype=torch.float64)
    model(images)  # running statistics
    model.eval()
    scores = model(images).scores
    torch.testing.assert_close(model(images).scores, scores, rtol=0, atol=0)
    torch.testing.assert_close(model(images[2:3]).scores, scores[2:3])


@EVERY_NETWORK
def test_a_saved_network_says_the_same(name, tmp_path):
    model = build(models(name, **SMALL[name]), (1, 20, 20), ("a", "b", "c"))
    save(model, tmp_path / "network")
    images = torch.rand(2, 1, 20, 20)
    assert torch.equal(load(tmp_path / "network").predict(images).scores, model.predict(images).scores)


@EVERY_NETWORK
def test_capsules_route_in_float32_under_autocast(name):
    model = small(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(torch.rand(2, 1, 20, 20)).poses.dtype == torch.float32


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["matrix_capsnet", "variational_capsnet"])
def test_too_small_an_image_is_refused_with_the_sizes(name):
    with pytest.raises(UserError, match="Images of 16x30 pixels are too small for kernels of 5, 3, 3: at least 17x17"):
        small(name, (1, 16, 30))
    small(name, (1, 17, 17))


def test_an_image_whose_maps_are_too_small_is_refused_with_the_sizes():
    message = "Images of 12x12 pixels give maps of 6x6, too small for kernels of 3, 3: at least 7x7"
    with pytest.raises(UserError, match=message):
        small("attention_resnet", (1, 12, 12))
    small("attention_resnet", (1, 13, 13))


def test_the_smallest_map_leaves_one_position():
    windows = [(5, 2), (3, 2), (4, 1), (2, 3)]
    with pytest.raises(UserError, match="at least 25x25"):
        require_maps((1, 24, 40), (1, 24, 40), *windows)
    side = 25
    for kernel, stride in windows:
        side = (side - kernel) // stride + 1
    assert side == 1


@pytest.mark.parametrize("routing", ["em", "self_routing", "variational_bayes"])
def test_a_routing_that_needs_activations_is_refused_where_there_are_none(routing):
    with pytest.raises(UserError, match=f"{routing!r} needs activations"):
        small("attention_resnet", routing=routings(routing), schedule="sequential")


def test_a_routing_without_activations_cannot_make_scores():
    with pytest.raises(UserError, match="'attention' makes no activations"):
        small("matrix_capsnet", routing=routings("dynamic"), class_routing=routings("attention"))
    with pytest.raises(UserError, match="'em' needs activations"):
        small("matrix_capsnet", routing=routings("attention"))
    with pytest.raises(UserError, match="'attention' makes no activations"):
        small("self_routing_resnet", depth=1, routing=routings("attention"), class_poses="matrix")


def test_a_routing_that_cannot_tell_classes_apart_needs_matrices():
    with pytest.raises(UserError, match="'dynamic' learns 0 numbers"):
        small("self_routing_resnet", routing=routings("dynamic"))
    small("self_routing_resnet", routing=routings("dynamic"), class_poses="matrix")(torch.rand(2, 1, 20, 20))


def test_a_routing_that_has_no_steps_is_refused_where_layers_route_at_once():
    with pytest.raises(UserError, match="'dynamic' cannot be taken step by step. Set schedule to 'sequential'"):
        small("attention_resnet", routing=routings("dynamic"))
    small("attention_resnet", routing=routings("dynamic"), schedule="sequential")(torch.rand(2, 1, 20, 20))


@pytest.mark.parametrize("name", ["matrix_capsnet", "variational_capsnet", "attention_resnet"])
def test_layers_with_too_few_strides_are_refused(name):
    with pytest.raises(UserError, match="a layer needs one of each"):
        small(name, strides=(2,))


def test_a_depth_below_one_is_refused():
    with pytest.raises(UserError, match="depth 0: must be at least 1"):
        small("self_routing_resnet", depth=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(widths=(8, 16), blocks=(1,)), "each stage needs a width and at least one block"),
        (dict(widths=(8, 16), blocks=(1, 0)), "blocks 1 0: must be at least 1"),
        (dict(widths=(8, 11), blocks=(1, 1)), "From 8 to 11 channels"),
    ],
)
def test_stages_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        stems("resnet", **options).build((1, 8, 8))


# Stems and layers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shortcut", ["pad", "project"])
@pytest.mark.parametrize("image", [(1, 1, 1), (3, 9, 12)])
def test_a_residual_stem_gives_the_maps_it_promises(shortcut, image):
    stem = stems("resnet", widths=(4, 8, 16), blocks=(1, 2, 1), shortcut=shortcut).build(image)
    assert stem(torch.rand(2, *image)).shape == (2, *stem.maps)


def test_a_block_whose_convolutions_are_silent_passes_its_input_on():
    stem = stems("resnet", widths=(2, 4), blocks=(1, 1)).build((1, 4, 4))
    padded = stem.blocks[1]
    torch.nn.init.zeros_(padded.norm2.weight)
    maps = torch.rand(1, 2, 4, 4)
    result = padded(maps)
    torch.testing.assert_close(result[:, 1:3], maps[:, :, ::2, ::2])
    assert (result[:, [0, 3]] == 0).all()


def test_matrix_primaries_are_what_the_paper_says():
    primary = primaries("matrix", types=3, dim=4).build((5, 2, 2)).double()
    maps = torch.randn(2, 5, 2, 2, dtype=torch.float64)
    poses, activations = primary(maps)
    assert poses.shape == (2, 12, 4)
    type_, row, column = 1, 1, 0
    capsule = type_ * 4 + row * 2 + column
    weight = primary.pose.weight[type_ * 4 : type_ * 4 + 4, :, 0, 0]
    torch.testing.assert_close(poses[0, capsule], weight @ maps[0, :, row, column])
    logit = primary.activation.weight[type_, :, 0, 0] @ maps[0, :, row, column]
    torch.testing.assert_close(activations[0, capsule], (logit - 1).sigmoid())


def test_normalisation_by_type_keeps_the_proportions_of_a_pose_and_by_number_does_not():
    scale = torch.tensor([1.0, 10.0])
    for over, expected in (("type", 10.0), ("number", 1.0)):
        primary = primaries("matrix", types=2, dim=2, normalization=over).build((3, 4, 4))
        with torch.no_grad():
            primary.pose.weight.copy_(torch.randn(2, 1, 3, 1, 1).mul(scale[:, None, None, None]).reshape(4, 3, 1, 1))
        poses = primary(torch.randn(64, 3, 4, 4)).poses
        spread = poses.reshape(64, 2, 16, 2).std(dim=(0, 2))
        torch.testing.assert_close(spread[:, 1] / spread[:, 0], torch.full((2,), expected), rtol=0.01, atol=0)


def test_normalized_primaries_have_one_length_and_no_activations():
    primary = primaries("normalized", types=3, dim=16).build((5, 2, 2))
    poses, activations = primary(torch.randn(2, 5, 2, 2))
    torch.testing.assert_close(poses.norm(dim=-1), torch.full((2, 12), 4.0), rtol=1e-3, atol=0)
    assert (activations == 1).all() and not primary.outputs.activations


@pytest.mark.parametrize("origin", ["centre", "corner"])
@pytest.mark.parametrize(("rows", "slots"), [(4, (3, 7)), (1, (0, 1))])
def test_shared_votes_differ_over_positions_by_their_coordinates_alone(origin, rows, slots):
    grid = Grid(types=2, height=3, width=4, dim=16)
    layer = layers("shared", wholes=2, rows=rows, step=0.5, origin=origin).build(grid)
    poses = torch.randn(1, 2, 1, 16).expand(1, 2, 12, 16).reshape(1, 24, 16)
    votes, _ = layer.votes(active(poses))
    dense = votes.dense().reshape(2, 3, 4, 2, 16)
    moved = dense - dense[:, :1, :1]
    expected = torch.zeros_like(moved)
    expected[..., slots[0]] = 0.5 * torch.arange(3)[:, None, None]
    expected[..., slots[1]] = 0.5 * torch.arange(4)[:, None]
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)
    matrix = layer.weight[1, 0]
    first = torch.stack([matrix @ row for row in poses[0, 12].reshape(rows, 16 // rows)]).flatten()
    first[list(slots)] += torch.tensor([-0.5, -0.75] if origin == "centre" else [0.5, 0.5])
    torch.testing.assert_close(dense[1, 0, 0, 0], first)


def test_a_vote_without_room_for_coordinates_is_refused():
    with pytest.raises(UserError, match="set step to 0"):
        layers("shared", dim=1, rows=1).build(Grid(2, 3, 3, 1))
    layers("shared", dim=1, rows=1, step=0.0).build(Grid(2, 3, 3, 1))


def test_windows_split_is_the_inverse_of_join():
    windows = Windows(Grid(2, 5, 4, 3), 3, 1, 0)
    wholes = Capsules(torch.randn(2 * 6, 4, 3), torch.rand(2 * 6, 4))
    for expected, found in zip(wholes, windows.split(windows.join(wholes)), strict=True):
        assert torch.equal(expected, found)


@pytest.mark.parametrize(("competition", "wholes"), [("overlapping", 4 * 3), ("window", 3)])
def test_competition_says_which_wholes_share_a_part(competition, wholes):
    layer = layers("convolutional", types=3, kernel=2, competition=competition).build(Grid(1, 3, 3, 8))
    votes, _ = layer.votes(active(torch.randn(1, 9, 8)))
    middle = votes.even()[layer.windows.index == 4]  # the part that all four windows see
    torch.testing.assert_close(middle, torch.full((4, 3), 1 / wholes))


# What the papers say of the networks ---------------------------------------------------------------------------------


def test_matrix_capsules_begin_as_in_the_authors_code():
    torch.manual_seed(0)
    model = models("matrix_capsnet").build((2, 32, 32), 5)
    deviations = {
        0.05: [model.conv.weight],
        0.5: [model.primary.pose.weight],
        3.0: [model.primary.activation.weight],
        0.3: [model.layers[0].weight, model.layers[1].weight],
        0.01: [model.class_capsules.weight],
    }
    for std, weights in deviations.items():
        for weight in weights:
            assert weight.abs().max() <= 2 * std
            assert weight.std().item() == pytest.approx(
                0.88 * std, rel=0.05
            )  # a normal cut at two deviations has 0.88 of it
    assert (model.conv.bias == 0.1).all()


def test_variational_capsules_begin_as_in_the_authors_code():
    model = models("variational_capsnet").build((2, 32, 32), 5)
    bounds = {
        6 / (9 * (8 * 16 + 16 * 16)): model.layers[0].weight,
        6 / (9 * (16 * 16 + 16 * 16)): model.layers[1].weight,
        6 / (16 * 16 + 5 * 16): model.class_capsules.weight,
        6 / (64 + 8 * 16): model.primary.pose.weight,
        6 / (64 + 8): model.primary.activation.weight,
        6 / (2 * 25): model.conv.weight,
    }
    for square, weight in bounds.items():
        assert 0.95 * square**0.5 < weight.abs().max().item() <= square**0.5


def test_self_routing_begins_as_in_the_authors_code():
    model = models("self_routing_resnet", depth=2).build((1, 32, 32), 10)
    largest = model.layers[0].routed.weight.abs().max().item()
    assert largest == pytest.approx((6 / (32 * 16 * 16)) ** 0.5, rel=0.01)
    assert model.stem.conv.weight.abs().max().item() == pytest.approx((6 / 9) ** 0.5, rel=0.1)


def test_coordinates_are_a_hundredth_of_a_pixel_or_a_tenth_of_the_map():
    for name, rows in (
        ("matrix_capsnet", [-0.06, -0.02, 0.02, 0.06]),
        ("variational_capsnet", [0.025, 0.05, 0.075, 0.1]),
    ):
        offset = small(name, (2, 32, 32)).class_capsules.offset.reshape(4, 4, 4, 16)
        expected = torch.zeros(4, 4, 4, 16)
        expected[..., 3] = torch.tensor(rows)[:, None]
        expected[..., 7] = torch.tensor(rows)
        torch.testing.assert_close(offset, expected)


def test_self_routing_and_attention_share_parts_in_each_window_anew():
    assert small("self_routing_resnet").layers[0].routed.competition == "window"
    assert [layer.competition for layer in small("attention_resnet").layers[:2]] == ["window", "window"]
    assert [layer.competition for layer in small("matrix_capsnet").layers] == ["overlapping", "overlapping"]


def test_attention_begins_with_wholes_of_variance_one_over_their_number():
    torch.manual_seed(0)
    model = models("attention_resnet", side=4).build((3, 32, 32), 10)
    for layer in model.layers:
        poses = torch.randn(8, layer.inputs.num_capsules, 16)
        votes, _ = layer.votes(active(poses))
        total = votes.combine(votes.even())
        assert total.std().item() == pytest.approx(layer.outputs.types**-0.5, rel=0.1)


@pytest.mark.parametrize("iterations", [1, 2, 3, 6])
def test_concurrent_routing_updates_all_layers_from_the_states_before(iterations):
    model = small("attention_resnet", routing=routings("attention", iterations=iterations)).double()
    images = torch.rand(2, 1, 20, 20, dtype=torch.float64)
    primary = model.primary(model.stem(images))
    states = [primary]
    for layer in model.layers:
        states.append(layer.join(active(layer.routing.begin(layer.votes(states[-1])[0]))))
    for _ in range(iterations - 1):
        updated = [primary]
        for below, above, layer in zip(states[:-1], states[1:], model.layers, strict=True):
            poses = layer.routing.update(layer.votes(below)[0], layer.split(above).poses)
            updated.append(layer.join(active(poses)))
        states = updated
    torch.testing.assert_close(model(images).poses, states[-1].poses)


def test_the_schedules_of_attention_agree_in_the_first_iteration_only():
    for iterations in (1, 2):
        routing = routings("attention", iterations=iterations)
        concurrent, sequential = (
            small("attention_resnet", routing=routing, schedule=schedule).eval()
            for schedule in ("concurrent", "sequential")
        )
        images = torch.rand(2, 1, 20, 20)
        difference = (concurrent(images).scores - sequential(images).scores).abs().max()
        assert (difference < 1e-5) == (iterations == 1)


@pytest.mark.parametrize("depth", [1, 2])
def test_self_routing_shares_the_image_among_classes_evenly_at_first(depth):
    model, images = small("self_routing_resnet", depth=depth), torch.rand(2, 1, 20, 20)
    torch.testing.assert_close(model(images).scores, torch.full((2, 3), 1 / 3))
    for parameter in model.class_capsules.routing.parameters():
        torch.nn.init.normal_(parameter)
    torch.testing.assert_close(model(images).scores.sum(dim=-1), torch.ones(2))


# Learning ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    folder = Path(os.environ.get("CAPSNET_DATA", Path(__file__).parents[3] / "shared" / "data"))
    if not (folder / "MNIST" / "raw").is_dir():
        pytest.skip(f"no MNIST/raw in {folder}: name its folder in CAPSNET_DATA")
    images, labels = datasets("mnist", root=folder).build().split("train")
    return images[:64] / 255, labels[:64]


def spread(scores, labels):
    """The spread loss of Hinton et al. (2018) with the margin that they begin with."""
    target = scores.gather(1, labels[:, None])
    return ((0.2 - (target - scores)).relu().square().sum(dim=-1) - 0.2**2).mean()


def likelihood(scores, labels):
    return torch.nn.functional.nll_loss((scores + 1e-6).log(), labels)


# Two rounds of EM, and one layer between: with three rounds, or two layers, it learns the same more slowly.
TWO_ROUNDS = dict(
    routing=routings("em", iterations=2),
    class_routing=routings("em", iterations=2, final_beta=0.0025, beta_u=2.0, beta_a=1.0),
)
LEARNING = {
    "matrix_capsnet": (
        spread,
        0.02,
        dict(channels=16, stride=4, types=(8,), kernels=(3,), strides=(2,), **TWO_ROUNDS),
    ),
    "variational_capsnet": (torch.nn.functional.cross_entropy, 0.01, dict(stride=3)),
    "self_routing_resnet": (likelihood, 0.01, {}),
    "attention_resnet": (torch.nn.functional.cross_entropy, 0.01, {}),
}


@EVERY_NETWORK
def test_it_learns_64_digits_by_heart(name, digits):
    images, labels = digits
    loss, rate, options = LEARNING[name]
    model = small(name, (1, 28, 28), 10, **options)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(200):
        scores = model(images).scores
        if (scores.argmax(dim=-1) == labels).all():
            return
        optimizer.zero_grad()
        loss(scores, labels).backward()
        optimizer.step()
    pytest.fail(f"{(scores.argmax(dim=-1) == labels).sum()} of 64")
