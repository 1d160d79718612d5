"""Efficient-CapsNet, HVC, DeepCaps, the CNN baseline and stacks: counts, shapes, laws, learning."""

import json
import os
from pathlib import Path

import pytest
import test_networks_matrix
import torch
from test_train import RUN
from torch.nn import functional
from torchvision.datasets import MNIST

from capsnet_dist import (
    Capsules,
    Grid,
    Output,
    UserError,
    config,
    decoders,
    layers,
    losses,
    models,
    primaries,
    routings,
    stems,
)
from capsnet_dist.capsules import exponential_squash, lengths, squash
from capsnet_dist.config import command_line
from capsnet_dist.plugins import Decoder

NONE = decoders("none")
SMALL = {
    "efficient_capsnet": dict(stem=stems("efficient", channels=(8, 16), kernels=(5, 3), strides=(1, 2)), dim=4),
    "hvc": dict(channels=8, growth=4, branches=(1, 3)),
    "deepcaps": dict(channels=8, types=3, dims=(4, 4), dim=6),
    "cnn": dict(channels=(4, 4), kernels=(5, 3), pooling=2, hidden=(8,)),
    "stack": dict(
        stem=stems("convolution", channels=8, kernel=3),
        primary=primaries("vector", types=2, kernel=5),
        layers=(layers("convolutional", types=3, dim=4, kernel=2), layers("dense", dim=6)),
    ),
}
EVERY_NETWORK = pytest.mark.parametrize("name", list(SMALL))
EVERY_DECODER = pytest.mark.parametrize(
    "name", ["class_independent", "deconvolution", "masked", "two_object", "upsampling"]
)


def small(name, image=(1, 14, 14), classes=3, **options):
    torch.manual_seed(0)
    return models(name, **{**SMALL[name], **options}).build(image, classes)


def count(choice, image, classes=10):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in choice.build(image, classes).parameters())


# Parameter counts --------------------------------------------------------------------------------------------------

SMALLNORB = stems("efficient", kernels=(7, 3, 3, 3), strides=(2, 1, 1, 2), normalization="instance")
MULTIMNIST = stems("efficient", strides=(1, 1, 2, 2))


@pytest.mark.parametrize(
    ("options", "image", "classes", "exactly"),
    [
        ({}, (1, 28, 28), 10, 161_824),
        ({"stem": SMALLNORB}, (2, 48, 48), 5, 151_664),
        ({"stem": MULTIMNIST, "primary": primaries("depthwise", kernel=5, stride=2)}, (1, 36, 36), 10, 154_656),
    ],
)
def test_efficient_capsnet_counts_what_the_paper_does(options, image, classes, exactly):
    """161 K, 151 K and 154 K in the paper, cut to thousands, without the decoder."""
    assert count(models("efficient_capsnet", decoder=NONE, **options), image, classes) == exactly


def test_homogeneous_vector_capsules_count_what_the_paper_does():
    """1.514 M: 0.756 M in kernels, 0.756 M in capsules, and the shifts of all normalizations and the branch weights."""
    kernels = 9 * sum(
        before * after for before, after in zip([1, *range(32, 160, 16)], range(32, 161, 16), strict=True)
    )
    capsules = 10 * (22**2 * 64 + 16**2 * 112 + 10**2 * 160)
    shifts = sum(range(32, 161, 16)) + (64 + 112 + 160) + 3
    assert (kernels, capsules) == (756_000, 756_480)
    assert count(models("hvc"), (1, 28, 28)) == kernels + capsules + shifts + 3 == 1_513_686


@pytest.mark.parametrize(("image", "parts"), [((1, 28, 28), 640), ((3, 32, 32), 640), ((3, 64, 64), 2560)])
def test_deepcaps_counts_what_the_authors_code_does(image, parts):
    """8.44 M for 28 and 32 pixels, 13.36 M for 64, each and the decoder (58,417 for 28 pixels, 67,571 for 64).

    The 7.2 M that are told of the paper, 68 % fewer than 22.48 M, cannot be this network's: all but the class capsules
    are 6.81 M, and 640 parts x 10 classes x 8 x 32 another 1.64 M. Were the class capsules to see the last block alone,
    it would be 7.13 M, or 7.20 M with the decoder.
    """
    blocks = 9 * (4 * 128 * 128 + 128 * 256 + (3 + 4 + 3) * 256 * 256) + 8 * 9 * 256 + 256
    exactly = (9 * image[0] + 1) * 128 + 2 * 128 + blocks + parts * 10 * 8 * 32 + 10 * 32
    assert count(models("deepcaps", decoder=NONE), image) == exactly
    assert count(models("deepcaps"), (1, 28, 28)) == 8_441_920 + 58_417
    widths = decoders("class_independent", channels=(64, 32, 16, 8))
    assert count(models("deepcaps", decoder=widths), (3, 64, 64)) == 13_359_424 + 67_571


def test_the_baselines_count_what_the_paper_does():
    """35.4 M and 24.56 M, which tells that the convolutions keep the size of the image: the paper does not."""
    assert count(models("cnn"), (1, 28, 28)) == 35_445_522
    widths = dict(channels=(512, 256), kernels=(9, 5), pooling=2, hidden=(1024,), dropout=0.0)
    assert count(models("cnn", **widths), (1, 36, 36)) == 24_563_978


def test_capsnets_for_other_data_count_what_the_paper_does():
    """11.36 M for MultiMNIST. 1.0 M for SVHN: 64 channels, 16 types of 6, class capsules of 8, no decoder."""
    assert count(models("capsnet"), (1, 36, 36)) == 11_361_808
    widths = dict(channels=64, primary_types=16, primary_dim=6, dim=8, decoder=NONE)
    assert count(models("capsnet", **widths), (3, 32, 32)) == 1_004_896


def test_the_capsnet_for_cifar_counts_22_million_only_with_padding():
    """22.48 M, as a stack: 64 types, and both convolutions padded to the size of the image over their stride.

    Without padding, which is what the paper draws for MNIST, it would be 11,990,528 and the decoder.
    """
    padded = dict(stem=stems("convolution", padding=4), primary=primaries("vector", types=64, padding=4))
    assert count(models("stack", decoder=NONE, **padded), (3, 24, 24)) == 22_476_288
    assert count(models("capsnet", primary_types=64, decoder=NONE), (3, 24, 24)) == 11_990_528


# Laws of every network ---------------------------------------------------------------------------------------------


@EVERY_NETWORK
@pytest.mark.parametrize(("image", "classes", "batch"), [((1, 14, 14), 3, 4), ((3, 13, 18), 2, 2), ((2, 20, 11), 5, 3)])
def test_any_image_size_channels_and_classes_work(name, image, classes, batch):
    model = small(name, image, classes)
    output = model(torch.rand(batch, *image), torch.zeros(batch, dtype=torch.int64))
    assert output.scores.shape == (batch, classes)
    assert output.poses.shape[:2] == (batch, classes)
    assert output.reconstruction is None or output.reconstruction.shape == (batch, *image)
    output.scores.sum().backward()
    assert model.predict(torch.zeros(1, *image, dtype=torch.uint8)).labels.shape == (1,)


@EVERY_NETWORK
def test_gradients_reach_every_parameter(name):
    model = small(name)
    output = model(torch.rand(4, 1, 14, 14), torch.tensor([0, 1, 2, 0]))
    loss = (output.scores * torch.randn(4, 3)).sum()
    (loss if output.reconstruction is None else loss + output.reconstruction.square().sum()).backward()
    assert not [key for key, x in model.named_parameters() if x.grad is None or not x.grad.any()]


@EVERY_NETWORK
def test_evaluation_repeats_and_does_not_depend_on_the_batch(name):
    model = small(name).double()
    images = torch.rand(5, 1, 14, 14, dtype=torch.float64)
    model.train()(images)  # so that running statistics are not those of a new network
    with torch.no_grad():
        together = model.eval()(images)
        torch.testing.assert_close(model(images).scores, together.scores, rtol=0, atol=0)
        alone = model(images[2:3])
    torch.testing.assert_close(alone.scores, together.scores[2:3])
    torch.testing.assert_close(alone.poses, together.poses[2:3])


@pytest.mark.parametrize("decoder", sorted(decoders))
@pytest.mark.parametrize("name", sorted(models))
def test_predicting_gives_the_scores_of_the_network_without_its_decoder(name, decoder):
    """The same bits: whoever predicts asks the network for no image."""
    sizes = {**SMALL, **test_networks_matrix.SMALL, "capsnet": dict(channels=4, primary_types=2)}
    options = {} if name == "cnn" else {"decoder": decoders(decoder)}
    torch.manual_seed(0)
    model = models(name, **sizes[name], **options).build((1, 20, 20), 3)
    images = torch.rand(3, 1, 20, 20)
    with model.evaluating(), torch.no_grad():
        expected = model(images)
    for module in model.modules():
        if isinstance(module, Decoder):
            module.register_forward_pre_hook(lambda *_: pytest.fail("an image was rebuilt"))
    assert torch.equal(model.predict(images).scores, expected.scores)
    assert (decoder == "none" or name == "cnn") == (expected.reconstruction is None)


@EVERY_NETWORK
@pytest.mark.parametrize("decoder", ["class_independent", "masked"])
def test_the_label_decides_what_is_rebuilt_and_without_one_the_prediction(name, decoder):
    if name == "cnn":
        assert small(name).rebuild(torch.zeros(1, 3, 1), torch.zeros(1, dtype=torch.int64)) is None
        return
    model = small(name, decoder=decoders(decoder)).eval()
    images = torch.rand(3, 1, 14, 14)
    told = model(images).scores.argmax(dim=1)
    torch.testing.assert_close(model(images).reconstruction, model(images, told).reconstruction)
    output = model(images, (told + 1) % 3)
    torch.testing.assert_close(output.reconstruction, model.rebuild(output.poses, (told + 1) % 3))
    assert not torch.equal(output.reconstruction, model(images).reconstruction)


@pytest.mark.parametrize(
    ("choice", "image", "message"),
    [
        (
            models("efficient_capsnet"),
            (1, 9, 28),
            r"9x28 pixels are too small for kernels of 5, 3, 3, 3: at least 11x11",
        ),
        (models("hvc"), (1, 28, 18), r"28x18 pixels are too small for kernels of .*: at least 19x19"),
        (models("deepcaps"), (3, 15, 32), r"15x32 pixels are too small to be halved by 4 blocks: at least 16x16"),
        (models("cnn", pooling=2), (1, 7, 9), r"7x9 pixels are too small to be pooled: at least 8x8"),
        (models("stack"), (1, 16, 16), r"16x16 pixels, convolution -> vector -> dense: .* too small for a kernel of 9"),
    ],
)
def test_too_small_an_image_is_refused_with_the_sizes(choice, image, message):
    with pytest.raises(UserError, match=message):
        choice.build(image, 3)


@pytest.mark.parametrize("name", ["capsnet", "efficient_capsnet", "deepcaps"])
def test_a_routing_without_activations_cannot_make_scores(name):
    with pytest.raises(UserError, match="'attention' makes no activations"):
        models(name, routing=routings("attention")).build((1, 32, 32), 10)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (
            models("efficient_capsnet", primary=primaries("depthwise", dim=7)),
            "128 feature maps do not divide into poses of 7",
        ),
        (models("efficient_capsnet", stem=stems("efficient", strides=(1, 2))), "must be equally many"),
        (models("hvc", branches=(3, 2)), r"branches=\(3, 2\): must be numbers of convolutions in order"),
        (models("hvc", branches=()), "must be numbers of convolutions"),
        (models("hvc", branches=(0, 3)), "branches 0 3: must be at least 1"),
        (models("deepcaps", dims=(8,)), "at least two blocks"),
        (models("deepcaps", dims=(4, 8)), "the last two of equal pose size"),
        (models("deepcaps", skip=layers("dense")), "skip path 'dense' makes"),
        (models("deepcaps", skip=layers("squashed", stride=2)), "skip path 'squashed' makes"),
        (models("cnn", kernels=(4, 4, 4)), "must be odd"),
        (models("cnn", channels=(8,)), "as many as channels"),
        (models("stack", layers=()), "at least one layer"),
        (models("stack", layers=(layers("convolutional"),)), "option 'wholes', which 'convolutional' lacks"),
        (models("stack", layers=(layers("residual", kernel=2), layers("dense"))), "kernel=2: must be odd"),
        (models("stack", decoder=decoders("deconvolution", channels=(8,) * 6)), "use fewer channels"),
        (models("stack", decoder=decoders("two_object", single=NONE)), "single is 'none'"),
    ],
)
def test_combinations_without_sense_are_refused(choice, message):
    with pytest.raises(UserError, match=message):
        choice.build((1, 28, 28), 10)


# Laws of the layers ------------------------------------------------------------------------------------------------


def capsules(grid, batch=2):
    generator = torch.Generator().manual_seed(0)
    poses = torch.randn(batch, grid.num_capsules, grid.dim, generator=generator, dtype=torch.float64)
    return Capsules(poses, torch.rand(batch, grid.num_capsules, generator=generator, dtype=torch.float64))


def test_votes_of_three_dimensional_capsules_are_a_3d_convolution():
    """The authors': over the numbers of all poses in a row, with a stride of one pose, so that types share kernels."""
    grid = Grid(types=3, height=4, width=5, dim=2)
    layer = layers("three_dimensional", types=2, dim=4).build(grid).double()
    below = capsules(grid)
    volume = below.poses.reshape(2, 3, 4, 5, 2).permute(0, 1, 4, 2, 3).reshape(2, 1, 6, 4, 5)
    kernel = layer.weight.reshape(8, 3, 3, 2).permute(0, 3, 1, 2)[:, None]  # out, in, pose, row, column
    expected = functional.conv3d(volume, kernel, stride=(2, 1, 1), padding=(0, 1, 1))  # b (j d) i y x
    expected = expected.reshape(2, 2, 4, 3, 20).permute(0, 4, 3, 1, 2).reshape(40, 3, 2, 4)
    torch.testing.assert_close(layer.votes(below)[0].dense(), expected)


def test_a_type_divides_itself_over_all_types_at_all_positions():
    grid = Grid(types=3, height=4, width=5, dim=2)
    layer = layers("three_dimensional", types=2, dim=4).build(grid)
    logits = torch.randn(2 * 20, 3, 2, dtype=torch.float64)
    shares = layer.compete(logits).reshape(2, 20, 3, 2)
    torch.testing.assert_close(shares.sum(dim=(1, 3)), torch.ones(2, 3, dtype=torch.float64))
    ratio = logits.reshape(2, 20, 3, 2).exp()
    torch.testing.assert_close(shares, ratio / ratio.sum(dim=(1, 3), keepdim=True))


def test_a_squashed_convolution_sees_what_a_convolution_sees():
    grid = Grid(types=3, height=4, width=5, dim=2)
    layer = layers("squashed", types=2, dim=4, stride=2).build(grid).double()
    below = capsules(grid)
    maps = below.poses.reshape(2, 3, 4, 5, 2).permute(0, 1, 4, 2, 3).reshape(2, 6, 4, 5)
    expected = layer.conv(maps).reshape(2, 2, 4, 2, 3).permute(0, 1, 3, 4, 2).reshape(2, 12, 4)
    torch.testing.assert_close(layer(below).poses, squash(expected))
    assert layer.outputs == Grid(2, 2, 3, 4)


def test_squashing_layer_upon_layer_leaves_capsules_and_gradients():
    """Squashing squares short lengths; smaller initial weights, such as PyTorch's, leave exact zeros after 4 blocks."""
    torch.manual_seed(0)
    model = models("deepcaps", types=8, channels=32).build((1, 32, 32), 3)
    found = []
    model.blocks[-1].register_forward_hook(lambda module, inputs, output: found.append(lengths(output.poses).mean()))
    model(torch.rand(4, 1, 32, 32)).scores.sum().backward()
    assert found[0] > 0.01
    assert min(block.entry.conv.weight.grad.norm() for block in model.blocks) > 1e-3


def test_a_residual_block_is_the_sum_of_its_paths():
    grid = Grid(types=3, height=6, width=5, dim=2)
    block = layers("residual", types=2, dim=4, skip=layers("three_dimensional")).build(grid).double()
    entry = block.entry(capsules(grid))
    deep, skipped = block.second(block.first(entry)), block.skip(entry)
    result = block(capsules(grid))
    torch.testing.assert_close(result.poses, deep.poses + skipped.poses)
    torch.testing.assert_close(result.activations, (deep.activations + skipped.activations) / 2)
    assert block.outputs[:4] == (2, 3, 3, 4)


def test_homogeneous_capsules_are_sums_weighted_number_by_number():
    grid = Grid(types=2, height=3, width=1, dim=5)
    layer = layers("homogeneous", wholes=4).build(grid).double()
    below = capsules(grid, batch=3)
    total = torch.zeros(3, 4, 5, dtype=torch.float64)
    for part in range(6):
        for whole in range(4):
            total[:, whole] += layer.weight[part, whole] * below.poses[:, part]
    mean, variance = total.mean(dim=(0, 1)), total.var(dim=(0, 1), unbiased=False)  # over samples and wholes
    expected = ((total - mean) / (variance + 1e-3).sqrt() + layer.norm.bias).relu()
    torch.testing.assert_close(layer(below).poses, expected)


def test_scores_are_the_sum_of_the_branches_normalized():
    """Pixels go from -1 to 1; in evaluation, statistics of a new network are 0 and 1."""
    model = small("hvc").double().eval()
    torch.nn.init.normal_(model.weights)
    torch.nn.init.normal_(model.norm.bias)
    images = torch.rand(2, 1, 14, 14, dtype=torch.float64)
    maps, expected = 2 * images - 1, model.norm.bias.sum()
    for number in range(3):
        maps = functional.conv2d(maps, model.convolutions[number][0].weight).div((1 + 1e-3) ** 0.5).relu()
        if number + 1 in (1, 3):
            branch, weight = model.branches[str(number + 1)], model.weights[[1, 3].index(number + 1)]
            total = torch.einsum("bcn,njc->bjc", maps.flatten(2), branch.weight)
            expected = expected + weight * total.div((1 + 1e-3) ** 0.5).relu().norm(dim=-1) / (1 + 1e-3) ** 0.5
    torch.testing.assert_close(model(images).scores, expected)


def test_branch_weights_are_learned_only_where_merging_says_so():
    trained = {merging: small("hvc", merging=merging).weights for merging in ("learned", "random", "fixed")}
    assert [trained[merging].requires_grad for merging in trained] == [True, True, False]
    assert trained["learned"].eq(1).all() and trained["fixed"].eq(1).all() and trained["random"].ne(1).all()


def test_each_number_of_a_depthwise_pose_comes_from_one_map():
    primary = primaries("depthwise", dim=2).build((6, 4, 3)).double()
    maps = torch.randn(1, 6, 4, 3, dtype=torch.float64)
    total = (primary.conv.weight[:, 0] * maps[0]).sum(dim=(1, 2)) + primary.conv.bias
    torch.testing.assert_close(primary(maps).poses[0], exponential_squash(total.reshape(3, 2)))
    assert primary.outputs == Grid(3, 1, 1, 2)


@pytest.mark.parametrize("normalization", ["batch", "instance"])
def test_the_efficient_stem_normalizes_last(normalization):
    stem = stems("efficient", normalization=normalization, channels=(4, 6), kernels=(3, 3), strides=(1, 2)).build(
        (2, 13, 9)
    )
    maps = stem(torch.rand(5, 2, 13, 9))
    assert maps.shape[1:] == stem.maps == (6, 5, 3)
    over = (0, 2, 3) if normalization == "batch" else (2, 3)
    assert maps.mean(dim=over).abs().max() < 1e-5


# Decoders ----------------------------------------------------------------------------------------------------------


@EVERY_DECODER
@pytest.mark.parametrize("image", [(1, 28, 28), (3, 33, 17), (2, 9, 12)])
def test_decoders_make_images_of_any_size(name, image):
    torch.manual_seed(0)
    pixels = decoders(name).build(image, 4, 6)(torch.randn(3, 4, 6), torch.tensor([0, 3, 1]))
    assert pixels.shape == (3, *image)
    assert (pixels >= 0).all() and (pixels <= 1).all()


@pytest.mark.parametrize("name", ["class_independent", "deconvolution", "masked", "upsampling"])
def test_other_classes_do_not_change_the_rebuilt_image(name):
    decoder = decoders(name).build((1, 12, 12), 4, 6).eval()
    poses, labels = torch.randn(2, 4, 6), torch.tensor([0, 3])
    others = poses.clone()
    others[:, 1:3] = 7.0
    torch.testing.assert_close(decoder(poses, labels), decoder(others, labels), rtol=0, atol=0)


@pytest.mark.parametrize(("name", "same"), [("class_independent", True), ("deconvolution", False), ("masked", False)])
def test_only_a_class_independent_decoder_reads_the_same_pose_alike_in_every_class(name, same):
    torch.manual_seed(0)
    decoder = decoders(name).build((1, 12, 12), 3, 6).eval()
    poses = torch.randn(1, 1, 6).expand(-1, 3, -1)
    images = [decoder(poses, torch.tensor([label])) for label in range(3)]
    assert torch.equal(images[0], images[2]) == same


@pytest.mark.parametrize("single", ["masked", "class_independent"])
def test_two_objects_are_the_label_and_the_most_active_other(single):
    decoder = decoders("two_object", single=decoders(single)).build((1, 12, 12), 4, 6).eval()
    poses = torch.randn(2, 4, 6) * torch.tensor([[1.0, 3.0, 9.0, 0.1], [9.0, 0.1, 3.0, 1.0]])[..., None]
    alone = [decoder.single(poses, torch.tensor(labels)) for labels in ([3, 0], [2, 2])]
    torch.testing.assert_close(decoder.objects(poses, torch.tensor([3, 0])), torch.stack(alone, dim=1))
    torch.testing.assert_close(decoder(poses, torch.tensor([3, 0])), (alone[0] + alone[1]).clamp(max=1))
    with pytest.raises(UserError, match="only one"):
        decoders("two_object").build((1, 12, 12), 1, 6)


@EVERY_DECODER
def test_no_pixel_whose_target_is_below_1_is_left_without_a_gradient(name):
    torch.manual_seed(0)
    decoder = decoders(name).build((1, 12, 12), 3, 6)
    poses, labels = torch.randn(8, 3, 6), torch.arange(8) % 3
    moved = torch.zeros(8, 1, 12, 12)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter += 0.2  # sums of two objects now exceed 1 nearly everywhere
    single = decoder.single if name == "two_object" else decoder
    single.register_forward_hook(lambda module, given, image: image + moved)
    moved.requires_grad_()
    images = torch.rand(8, 1, 12, 12).clamp(max=0.99)
    images[:, :, 0] = 1
    output = Output(torch.zeros(8, 3), poses, decoder(poses, labels))
    losses("reconstruction").build()(output, images, labels, 0.0)["reconstruction"].backward()
    assert (moved.grad[images < 1] != 0).all()


def test_two_objects_that_are_too_bright_everywhere_grow_darker_and_are_shown_clipped():
    decoder = decoders("two_object", single=decoders("masked", hidden=(8,))).build((1, 12, 12), 3, 6)
    last = decoder.single.layers[-2]
    torch.nn.init.constant_(last.bias, 3.0)
    poses, labels = torch.randn(8, 3, 6), torch.arange(8) % 3
    rebuilt = decoder(poses, labels)
    assert decoder.objects(poses, labels).sum(1).min() > 1 and torch.equal(rebuilt, torch.ones(8, 1, 12, 12))
    output = Output(torch.zeros(8, 3), poses, rebuilt)
    losses("reconstruction").build()(output, torch.full((8, 1, 12, 12), 0.5), labels, 0.0)["reconstruction"].backward()
    assert (last.bias.grad > 0).all()


# Stacks ------------------------------------------------------------------------------------------------------------


def test_a_stack_of_the_defaults_is_capsnet():
    torch.manual_seed(0)
    capsnet = models("capsnet", channels=8, primary_types=2).build((1, 20, 20), 3)
    sizes = dict(stem=stems("convolution", channels=8), primary=primaries("vector", types=2))
    stack = models("stack", **sizes).build((1, 20, 20), 3)
    names = {"conv.": "stem.conv.", "class_capsules.": "layers.0."}
    state = capsnet.state_dict()
    for old, new in names.items():
        state = {new + key.removeprefix(old) if key.startswith(old) else key: x for key, x in state.items()}
    stack.load_state_dict(state)
    images = torch.rand(2, 1, 20, 20)
    for mine, theirs in zip(stack(images), capsnet(images), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_scores_of_capsules_without_activations_are_their_lengths():
    stack = small("stack", layers=(layers("homogeneous"),)).eval()
    output = stack(torch.rand(2, 1, 14, 14))
    torch.testing.assert_close(output.scores, lengths(output.poses))


@pytest.mark.parametrize("name", ["residual", "squashed", "three_dimensional"])
def test_layers_stand_upon_each_other(name):
    torch.manual_seed(0)
    first = layers(name, types=5, dim=4).build(Grid(types=3, height=8, width=7, dim=6))
    second = layers(name, types=2, dim=3).build(first.outputs)
    below = Capsules(torch.randn(2, 3 * 8 * 7, 6), torch.rand(2, 3 * 8 * 7))
    result = second(first(below))
    assert result.poses.shape == (2, second.outputs.num_capsules, 3)
    result.poses.sum().backward()
    assert not [x.shape for layer in (first, second) for x in layer.parameters() if x.grad is None or not x.grad.any()]


@pytest.mark.parametrize(
    "words",
    [
        "--model stack --model.layers convolutional dense --model.layers.0.types 8 --model.layers.1.routing em",
        "--model=stack --model.layers=convolutional dense --model.layers.0.types=8 --model.layers.1.routing=em",
        "--model stack --model.layers dense --model.layers convolutional dense --model.layers.0.types 8 "
        "--model.layers.1.routing em",
    ],
)
def test_layers_are_named_on_the_command_line_each_with_its_options(words):
    run = command_line.parse(RUN, words.split())
    assert run.model.options["layers"] == (layers("convolutional", types=8), layers("dense", routing=routings("em")))
    assert config.from_dict(RUN, json.loads(json.dumps(config.to_dict(run)))) == run


def test_a_layer_that_keeps_its_place_in_the_list_keeps_its_options():
    chosen = models("stack", layers=(layers("dense", dim=4), layers("dense", dim=5)))
    run = command_line.parse(
        RUN.__class__(**{**vars(RUN), "model": chosen}), ["--model.layers", "dense", "convolutional", "dense"]
    )
    assert run.model.options["layers"] == (layers("dense", dim=4), layers("convolutional"), layers("dense"))


def test_one_layer_of_several_is_exchanged_by_its_number():
    run = command_line.parse(
        RUN, ["--model", "stack", "--model.layers", "dense", "dense", "--model.layers.0", "squashed"]
    )
    assert [layer.name for layer in run.model.options["layers"]] == ["squashed", "dense"]


def test_a_misspelt_layer_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="Unknown layer 'convolutionel'. Did you mean 'convolutional'?"):
        command_line.parse(RUN, ["--model", "stack", "--model.layers", "convolutionel", "dense"])
    with pytest.raises(UserError, match="--model.layers needs at least one name. Known: convolutional, dense"):
        command_line.parse(RUN, ["--model", "stack", "--model.layers", "--seed", "1"])


def test_help_shows_the_options_of_each_layer(capsys):
    with pytest.raises(SystemExit) as end:
        command_line.parse(RUN, ["--model", "stack", "--model.layers", "convolutional", "dense", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--model.layers.0.types INT", "--model.layers.1.wholes INT"))


# Learning ----------------------------------------------------------------------------------------------------------

FEW = routings("dynamic", iterations=2, bias=True)
LEARNING = {
    "capsnet": ("margin", dict(channels=16, primary_types=4, dim=8, decoder=NONE)),
    "efficient_capsnet": ("margin", dict(stem=stems("efficient", momentum=0.1), decoder=NONE)),
    "hvc": ("cross_entropy", dict(channels=8, growth=4, branches=(2, 4), momentum=0.1)),
    "deepcaps": (
        "margin",
        dict(channels=8, types=4, dim=8, decoder=NONE, routing=FEW, skip=layers("three_dimensional", routing=FEW)),
    ),
    "cnn": ("cross_entropy", dict(channels=(8, 8), kernels=(5, 5), pooling=2, hidden=(32,), dropout=0.0)),
    "stack": (
        "margin",
        dict(
            stem=stems("convolution", channels=16, stride=2),
            primary=primaries("vector", types=4, kernel=3),
            layers=(layers("convolutional", types=4, dim=8), layers("dense", dim=8)),
            decoder=NONE,
        ),
    ),
}


@pytest.fixture(scope="module")
def digits():
    """64 images of MNIST."""
    folder = Path(os.environ.get("CAPSNET_DATA", Path(__file__).parents[3] / "shared/data"))
    if not (folder / "MNIST/raw/train-images-idx3-ubyte").is_file():
        pytest.skip(f"no MNIST in {folder}: set CAPSNET_DATA to the folder that holds MNIST/raw")
    data = MNIST(folder, train=True)
    return data.data[:64, None] / 255, data.targets[:64]


def test_every_registered_network_is_in_one_of_the_lists_that_learn():
    assert {*LEARNING, *test_networks_matrix.LEARNING} == {
        name for name in models if models.owner(name).startswith("capsnet_dist ")
    }


@pytest.mark.parametrize("name", list(LEARNING))
def test_every_network_learns_64_digits_by_heart(name, digits):
    images, labels = digits
    torch.manual_seed(0)
    loss, options = LEARNING[name]
    model = models(name, **options).build((1, 28, 28), 10)
    criterion = losses(loss).build()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(150):
        terms = criterion(model(images, labels), images, labels, step / 150)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
        if step % 10 == 9 and model.predict(images).labels.equal(labels):
            return
    pytest.fail(f"after 150 steps: {model.predict(images).labels.eq(labels).sum()} of 64 digits, {terms}")
