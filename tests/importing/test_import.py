"""Weights in the layouts of others give, in our networks, what slow transcriptions of their code give."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
import torch
from conftest import run_ranks
from einops import einsum, rearrange
from test_cli import refused, said
from test_train import RUN, trained
from torch import nn

from capsnet_dist import Split, UserError, augmentations, build, load, save
from capsnet_dist.config.command_line import parse
from capsnet_dist.data.batches import Batches
from capsnet_dist.data.order import make_order
from capsnet_dist.importing.foreign import Told, by_number
from capsnet_dist.importing.layouts import REFUSED
from capsnet_dist.importing.make import import_weights, save_imported
from capsnet_dist.training import network

h5py = pytest.importorskip("h5py")


def draw(*shape, scale=0.5, seed=0):
    generator = torch.Generator().manual_seed(sum(shape) + 100 * len(shape) + seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def write_keras(file, tensors, config=None):
    """As Keras writes them: "layer/layer/kernel:0"; a network that was saved whole has its configuration, too."""
    with h5py.File(file, "w") as data:
        root = data if config is None else data.create_group("model_weights")
        for name, tensor in tensors.items():
            root[f"{name}:0"] = tensor.numpy()
        if config is not None:
            data["optimizer_weights/adam/m:0"] = [1.0, 2.0]
            layers = [{"class_name": kind, "config": options} for kind, options in config]
            data.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": {"layers": layers}})


# The forward passes of others -----------------------------------------------------------------------------------------


def conv(images, kernel, bias, stride=1):
    """Keras: images b y x c, kernels y x c n."""
    maps = nn.functional.conv2d(rearrange(images, "b y x c -> b c y x"), rearrange(kernel, "y x c n -> n c y x"))
    return rearrange(maps, "b n y x -> b y x n")[:, ::stride, ::stride] + bias


def squash(s, epsilon=1e-7):
    squared = s.square().sum(dim=-1, keepdim=True)
    return squared / (1 + squared) / (squared + epsilon).sqrt() * s


def route(votes, iterations=3):
    """Votes b j i d; couplings are a softmax over j."""
    b = torch.zeros(votes.shape[:3], dtype=votes.dtype)
    for iteration in range(iterations):
        c = b.softmax(dim=1)
        v = squash(einsum(c, votes, "b j i, b j i d -> b j d"))
        if iteration < iterations - 1:
            b = b + einsum(v, votes, "b j d, b j i d -> b j i")
    return v


def dense(x, layers, last=torch.sigmoid):
    *hidden, (kernel, bias) = layers
    for weight, shift in hidden:
        x = (x @ weight + shift).relu()
    return last(x @ kernel + bias)


def masked(poses, labels):
    return rearrange(poses * nn.functional.one_hot(labels, poses.shape[1])[..., None], "b j d -> b (j d)")


def capsnet_keras(w, images, labels, convolutions, stride=2, matrix="digitcaps/digitcaps/W"):
    """XifengGuo/CapsNet-Keras capsulelayers.py; Q7-CapsNets CapsuleLayers.py."""
    x = rearrange(images, "b c y x -> b y x c")
    for name, step in convolutions:
        x = conv(x, w[f"{name}/kernel"], w[f"{name}/bias"], step).relu()
    (primary,) = [name.removesuffix("/kernel") for name in w if name.endswith("primarycap_conv2d/kernel")]
    x = conv(x, w[f"{primary}/kernel"], w[f"{primary}/bias"], stride)
    u = squash(x.reshape(len(x), -1, w[matrix].shape[-1]))
    poses = route(einsum(w[matrix], u, "j i d p, b i p -> b j i d"))
    layers = [(w[f"decoder/{n}/kernel"], w[f"decoder/{n}/bias"]) for n in DENSE if f"decoder/{n}/kernel" in w]
    rebuilt = dense(masked(poses, labels), layers).reshape(*images.shape[:1], *images.shape[2:], -1) if layers else None
    return poses, None if rebuilt is None else rearrange(rebuilt, "b y x c -> b c y x")


DENSE = ("dense_9", "dense_10", "dense_11")


def xifeng(channels=2, rows=10, wholes=3):
    """2 types of 4 numbers at 3 x 3 positions of 8 x 8 maps."""
    sizes = (wholes * 5, 7, 6, channels * rows * rows)
    w = {
        "conv1/conv1/kernel": draw(3, 3, channels, 6),
        "conv1/conv1/bias": draw(6),
        "primarycap_conv2d/primarycap_conv2d/kernel": draw(3, 3, 6, 8),
        "primarycap_conv2d/primarycap_conv2d/bias": draw(8),
        "digitcaps/digitcaps/W": draw(wholes, 2 * ((rows - 4) // 2) ** 2, 5, 4),
    }
    for name, before, after in zip(DENSE, sizes, sizes[1:], strict=False):
        w |= {f"decoder/{name}/kernel": draw(before, after), f"decoder/{name}/bias": draw(after)}
    return w


def q7(strides):
    """One convolution, or several; 2 types of 4 numbers at 3 x 3 positions; images of 10 or 20 rows."""
    names = ["conv2d", *(f"conv2d_{number}" for number in range(9, 8 + len(strides)))]
    w = {f"{name}/{name}/kernel": draw(3, 3, 6 if n else 2, 6, seed=n) for n, name in enumerate(names)}
    w |= {f"{name}/{name}/bias": draw(6, seed=n) for n, name in enumerate(names)}
    inner = "primary_capsule/primary_capsule/primarycap_conv2d"
    w |= {f"{inner}/kernel": draw(3, 3, 6, 8), f"{inner}/bias": draw(8), "capsule/capsule/weights": draw(3, 18, 5, 4)}
    rows = 10 if len(strides) == 1 else 20
    plain = {"padding": "valid", "activation": "linear"}
    config = [("InputLayer", {"batch_input_shape": [None, rows, rows, 2]})]
    config += [("Conv2D", {"strides": [stride, stride], **plain}) for stride in strides]
    config += [("PrimaryCapsule", {"strides": 2, "padding": "valid"}), ("Capsule", {"routings": 3})]
    return w, config, rows, [(f"{name}/{name}", stride) for name, stride in zip(names, strides, strict=True)]


def notebook():
    w = {"conv1.conv.weight": draw(6, 1, 3, 3), "conv1.conv.bias": draw(6)}
    w |= {"primary_capsules.conv.weight": draw(8, 6, 3, 3), "primary_capsules.conv.bias": draw(8)}
    w |= {"routing.W": draw(18, 3, 5, 4, scale=0.2)}
    for number, (before, after) in zip((0, 2, 4), ((5, 7), (7, 6), (6, 100)), strict=True):
        w |= {f"decoder.decoder.{number}.weight": draw(after, before), f"decoder.decoder.{number}.bias": draw(after)}
    return w


def notebook_forward(w, images, labels):
    """No squash in the primary capsules; the decoder takes the capsule of the label alone."""
    x = nn.functional.conv2d(images, w["conv1.conv.weight"], w["conv1.conv.bias"]).relu()
    x = nn.functional.conv2d(x, w["primary_capsules.conv.weight"], w["primary_capsules.conv.bias"], stride=2)
    u = x.permute(0, 2, 3, 1).reshape(len(x), -1, 4)
    poses = route(einsum(w["routing.W"], u, "i j d p, b i p -> b j i d"))
    layers = [(w[f"decoder.decoder.{n}.weight"].T, w[f"decoder.decoder.{n}.bias"]) for n in (0, 2, 4)]
    return poses, dense(poses[torch.arange(len(x)), labels], layers).reshape(images.shape)


def efficient(norm):
    """EscVM/Efficient-CapsNet: 4, 4, 4 and 8 maps, two capsules of four numbers; counts go on from the generator's."""
    channels, kernel, first = {"batch": (1, 9, 5), "instance": (2, 8, 7)}[norm]
    widths, kernels = (channels, 4, 4, 4, 8), (first, 3, 3, 3)
    w = {}
    for n, (before, after, side) in enumerate(zip(widths, widths[1:], kernels, strict=False)):
        suffix = f"_{n}" if n else ""
        w |= {f"CapsNet/conv2d_{n + 8}/kernel": draw(side, side, before, after, seed=n)}
        w |= {f"CapsNet/conv2d_{n + 8}/bias": draw(after, seed=n)}
        place = f"CapsNet/{norm}_normalization{suffix}"
        w |= {f"{place}/gamma": 1 + draw(after, seed=n), f"{place}/beta": draw(after, seed=n + 9)}
        if norm == "batch":
            w |= {f"{place}/moving_mean": draw(after), f"{place}/moving_variance": 1 + draw(after).square()}
    w |= {"CapsNet/conv2d_12/kernel": draw(kernel, kernel, 1, 8, scale=0.1), "CapsNet/conv2d_12/bias": draw(8)}
    w |= {"CapsNet/digit_caps/W": draw(3, 2, 4, 5), "CapsNet/digit_caps/b": draw(3, 2, 1)}
    if norm == "batch":
        return w | {"Generator/dense/kernel": draw(15, 784), "Generator/dense/bias": draw(784)}
    w |= {"Generator/dense/kernel": draw(15, 64), "Generator/dense/bias": draw(64)}
    return w | {"Generator/conv2d/kernel": draw(3, 3, 1, 2), "Generator/conv2d/bias": draw(2)}


def efficient_forward(w, images, labels, norm):
    strides = {"batch": (1, 1, 1, 2), "instance": (2, 1, 1, 2)}[norm]
    x = rearrange(images, "b c y x -> b y x c")
    for n, stride in enumerate(strides):
        x = conv(x, w[f"CapsNet/conv2d_{n + 8}/kernel"], w[f"CapsNet/conv2d_{n + 8}/bias"], stride)
        place = f"CapsNet/{norm}_normalization" + (f"_{n}" if n else "")
        if norm == "batch":
            x, mean, variance = x.relu(), w[f"{place}/moving_mean"], w[f"{place}/moving_variance"]
        else:
            x = nn.functional.leaky_relu(x, 0.3)
            mean, variance = x.mean(dim=(1, 2), keepdim=True), x.var(dim=(1, 2), keepdim=True, correction=0)
        x = (x - mean) / (variance + 1e-3).sqrt() * w[f"{place}/gamma"] + w[f"{place}/beta"]
    s = einsum(x, w["CapsNet/conv2d_12/kernel"], "b y x c, y x one c -> b c") + w["CapsNet/conv2d_12/bias"]
    u = exponential_squash(s.reshape(len(x), 2, 4))
    votes = einsum(u, w["CapsNet/digit_caps/W"], "b i p, j i p d -> b j i d")
    attention = einsum(votes, votes, "b j i d, b j k d -> b j i")[..., None] / 5**0.5
    poses = exponential_squash((votes * (attention.softmax(dim=1) + w["CapsNet/digit_caps/b"])).sum(dim=2))
    if norm == "instance":
        return poses, None
    pixels = dense(masked(poses, labels), [(w["Generator/dense/kernel"], w["Generator/dense/bias"])])
    return poses, pixels.reshape(images.shape)


def exponential_squash(s):
    n = s.norm(dim=-1, keepdim=True)
    return (1 - 1 / n.exp()) * s / n


def capsulewise():
    """4 maps, then 2 types of 3 numbers, then 2 of 4 at 2 x 2 positions; images of 17 rows."""
    w = {"conv2d_9/conv2d_9/kernel": draw(5, 5, 1, 4), "conv2d_9/conv2d_9/bias": draw(4)}
    place = "batch_normalization_9/batch_normalization_9"
    w |= {f"{place}/gamma": 1 + draw(4), f"{place}/beta": draw(4, seed=1)}
    w |= {f"{place}/moving_mean": draw(4, seed=2), f"{place}/moving_variance": 1 + draw(4).square()}
    w |= {"conv2d_caps_9/conv2d_caps_9/kernel": draw(3, 3, 4, 1, 2, 3)}
    w |= {"conv2d_caps_10/conv2d_caps_10/kernel": draw(2, 2, 2, 3, 2, 4, scale=2.0)}
    w |= {"dense_caps_5/dense_caps_5/kernel": draw(8, 4, 3, 5)}
    config = [("InputLayer", {"batch_input_shape": [32, 17, 17, 1]})]
    config += [("Conv2D", {"strides": [2, 2], "padding": "valid", "activation": "relu"})]
    config += [("Conv2DCaps", {"strides": [2, 2]}), ("Conv2DCaps", {"strides": [1, 1], "b_alphas": [1, 1, 1]})]
    return w, [*config, ("DenseCaps", {"r_num": 3, "b_alphas": [1, 2, 2]})]


def capsulewise_forward(w, images):
    """ruslangrimov/capsnet-with-capsulewise-convolution capslayers.py."""
    x = rearrange(images, "b c y x -> b y x c")
    x = conv(x, w["conv2d_9/conv2d_9/kernel"], w["conv2d_9/conv2d_9/bias"], 2).relu()
    mean, variance, gamma, beta = (
        w[f"batch_normalization_9/batch_normalization_9/{name}"]
        for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    x = ((x - mean) / (variance + 1e-3).sqrt() * gamma + beta)[..., None]
    for name, stride in (("conv2d_caps_9", 2), ("conv2d_caps_10", 1)):
        kernel = w[f"{name}/{name}/kernel"]
        x = conv(x.flatten(3), kernel.flatten(4).flatten(2, 3), torch.zeros(()), stride)
        x = squash(x.unflatten(3, kernel.shape[4:]))
    votes = einsum(w["dense_caps_5/dense_caps_5/kernel"], x.flatten(1, 3), "i p j d, b i p -> b i j d")
    b = torch.zeros(votes.shape[:3], dtype=votes.dtype)
    for _ in range(3):
        c = (b * 2).softmax(dim=2) * votes.shape[2]
        v = squash((c[..., None] * votes).sum(dim=1))
        b = b + einsum(v, votes, "b j d, b i j d -> b i j")
    return v, None


def self_routing(depth):
    """Two types of three numbers on a residual network with one block in each stage."""
    w = {"conv1.weight": draw(2, 1, 3, 3), **norm("bn1", 2)}
    for stage, (before, after) in enumerate(((2, 2), (2, 4), (4, 8)), start=1):
        place = f"layer{stage}.0"
        w |= {f"{place}.conv1.weight": draw(after, before, 3, 3), **norm(f"{place}.bn1", after)}
        w |= {f"{place}.conv2.weight": draw(after, after, 3, 3), **norm(f"{place}.bn2", after)}
    w |= {"conv_a.weight": draw(2, 8, 3, 3), "conv_pose.weight": draw(6, 8, 3, 3)}
    w |= {**norm("bn_a", 2), **norm("bn_pose", 6)}
    if depth == 2:
        w |= {"conv_layers.0.W1": draw(18, 6, 3), "conv_layers.0.W2": draw(18, 2, 3)}
        w |= {"conv_layers.0.b2": draw(1, 1, 18, 2), **norm("norm_layers.0", 6)}
    parts = 8 if depth == 1 else 2
    return w | {"fc.W2": draw(parts, 3, 3), "fc.b2": draw(1, 1, parts, 3)}


def norm(place, channels):
    kinds = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 2.0}
    return {f"{place}.{kind}": start + 0.3 * draw(channels, seed=len(kind)) for kind, start in kinds.items()}


def self_routing_forward(w, images, depth):
    """coder3000/SR-CapsNet models/resnet.py and modules.py."""

    def bn(x, place):
        return nn.functional.batch_norm(
            x, *(w[f"{place}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias"))
        )

    def maps(x, place, stride=1):
        return nn.functional.conv2d(x, w[f"{place}.weight"], stride=stride, padding=1)

    def routed(a, u, place, side, stride, padding):
        """Parts in the order row, column of the window, type."""
        u = nn.functional.unfold(u, side, stride=stride, padding=padding).unflatten(1, (2, 3, side**2))
        u = rearrange(u, "b a c k l -> b l (k a) c")
        a = nn.functional.unfold(a, side, stride=stride, padding=padding).unflatten(1, (2, side**2))
        a = rearrange(a, "b a k l -> b l (k a) 1")
        share = a * (einsum(w[f"{place}.W2"], u, "i j c, b l i c -> b l i j") + w[f"{place}.b2"]).softmax(dim=3)
        size = round(share.shape[1] ** 0.5)
        activations = rearrange(share.sum(dim=2) / a.sum(dim=2), "b (y x) j -> b j y x", y=size)
        if f"{place}.W1" not in w:
            return activations, None
        votes = einsum(w[f"{place}.W1"], u, "i n c, b l i c -> b l i n").unflatten(3, (2, 3))
        poses = (votes * (share / share.sum(dim=2, keepdim=True))[..., None]).sum(dim=2)
        return activations, rearrange(poses, "b (y x) j d -> b (j d) y x", y=size)

    x = bn(maps(images, "conv1"), "bn1").relu()
    for stage in (1, 2, 3):
        place, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        y = bn(maps(bn(maps(x, f"{place}.conv1", stride), f"{place}.bn1").relu(), f"{place}.conv2"), f"{place}.bn2")
        planes = y.shape[1]
        passed = x if stage == 1 else nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4))
        x = (y + passed).relu()
    a, u = bn(maps(x, "conv_a"), "bn_a").sigmoid(), bn(maps(x, "conv_pose"), "bn_pose")
    if depth == 2:
        a, u = routed(a, u, "conv_layers.0", 3, 2, 1)
        u = bn(u, "norm_layers.0")
    return routed(a, u, "fc", a.shape[-1], 1, 0)[0].flatten(1)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("told", [Told(), Told(mean=(0.3,), std=(0.2,))], ids=["pixels", "standardized"])
def test_an_imported_self_routing_network_gives_what_its_code_gives(tmp_path, depth, told):
    w = self_routing(depth)
    torch.save({"epoch": 1, "model_state": {f"module.{name}": tensor for name, tensor in w.items()}}, tmp_path / "w")
    model, notes = import_weights(tmp_path / "w", "sr_capsnet", told)
    save_imported(model, tmp_path / "net", tmp_path / "w", "sr_capsnet", notes)
    model, images = load(tmp_path / "net"), draw(3, 1, 8, 8).sigmoid()
    given = (images - 0.3) / 0.2 if told.mean else images
    expected = self_routing_forward(w, given, depth)
    torch.testing.assert_close(model(images).scores, expected, rtol=1e-6, atol=1e-6)
    assert expected.std() > 0.01 and bool(notes) != bool(told.mean)


# Laws ---------------------------------------------------------------------------------------------------------------


def written(layout, tmp_path, dtype=torch.float64):
    """A file of a layout, rows and channels of its images, and the forward pass of the code it is from."""
    kind, _, variant = layout.partition(" ")
    if kind == "notebook":
        w, shape, forward = notebook(), (1, 10), notebook_forward
    elif kind == "xifeng_keras":
        w, shape = xifeng(), (2, 10)
        forward = lambda w, *inputs: capsnet_keras(w, *inputs, [("conv1/conv1", 1)])  # noqa: E731
    elif kind == "q7":
        w, config, rows, steps = q7((1,) if variant == "one" else (1, 1, 2))
        shape = (2, rows)
        forward = lambda w, *inputs: capsnet_keras(w, *inputs, steps, matrix="capsule/capsule/weights")  # noqa: E731
    elif kind == "capsulewise":
        (w, config), shape = capsulewise(), (1, 17)
        forward = lambda w, images, _: capsulewise_forward(w, images)  # noqa: E731
    else:
        w, shape = efficient(variant), {"batch": (1, 28), "instance": (2, 48)}[variant]
        scale = 255 / 256 if variant == "batch" else 1
        forward = lambda w, images, labels: efficient_forward(w, scale * images, labels, variant)  # noqa: E731
    w = {name: tensor.to(dtype) for name, tensor in w.items()}
    file = tmp_path / ("weights.pth" if kind == "notebook" else "weights.h5")
    if kind == "notebook":
        torch.save({"model_state_dict": w, "optimizer_state_dict": {"state": {}}, "accuracies": [0.9]}, file)
    else:
        write_keras(file, w, config if kind in ("q7", "capsulewise") else None)
    exact = {name: tensor.double() for name, tensor in w.items()}
    return file, kind, shape, lambda *inputs: forward(exact, *inputs)


EVERY = ["notebook", "xifeng_keras", "q7 one", "q7 several", "capsulewise"]
EVERY += ["efficient_capsnet batch", "efficient_capsnet instance"]


@pytest.mark.parametrize("layout", EVERY)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 2e-5)])
def test_an_imported_network_gives_what_the_code_it_is_from_gives(tmp_path, layout, dtype, tolerance):
    file, kind, (channels, rows), forward = written(layout, tmp_path, dtype)
    model, notes = import_weights(file, kind, Told())
    save_imported(model, tmp_path / "net", file, kind, notes)
    model = load(tmp_path / "net")
    assert model.image == (channels, rows, rows) and next(model.parameters()).dtype is dtype
    images, labels = draw(3, channels, rows, rows).sigmoid(), torch.tensor([2, 0, 1])
    poses, rebuilt = forward(images, labels)
    output = model(images.to(dtype), labels)
    torch.testing.assert_close(output.poses.double(), poses, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(output.scores.double(), poses.norm(dim=-1), rtol=tolerance, atol=tolerance)
    assert poses.norm(dim=-1).std() > 0.01  # scores that say something
    assert (output.reconstruction is None) == (rebuilt is None)
    if rebuilt is not None:
        torch.testing.assert_close(output.reconstruction.double(), rebuilt, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("layout", EVERY)
def test_an_imported_network_can_be_trained_further(tmp_path, layout):
    file, kind, (channels, rows), _ = written(layout, tmp_path)
    model, _ = import_weights(file, kind, Told())
    output = model.train()(draw(2, channels, rows, rows).sigmoid(), torch.tensor([0, 1]))
    output.scores.sum().backward()
    decoders = ("decoder.",)
    assert not [n for n, p in model.named_parameters() if not n.startswith(decoders) and (p.grad is None)]


def test_what_was_done_to_pixels_goes_into_the_first_convolution(tmp_path):
    file, kind, _, forward = written("xifeng_keras", tmp_path)
    mean, std = (0.3, 0.1), (0.2, 0.4)
    model, _ = import_weights(file, kind, Told(mean=mean, std=std))
    images, labels = draw(3, 2, 10, 10).sigmoid(), torch.tensor([2, 0, 1])
    columns = [torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std)]
    poses, _ = forward((images - columns[0]) / columns[1], labels)
    torch.testing.assert_close(model(images, labels).poses, poses, rtol=1e-6, atol=1e-6)
    with pytest.raises(UserError, match="--std 0.0 1.0: must be positive"):
        import_weights(file, kind, Told(mean=mean, std=(0.0, 1.0)))
    with pytest.raises(UserError, match="a number for each of the 2 channels"):
        import_weights(file, kind, Told(mean=(0.5,)))


def test_layers_are_in_the_order_of_their_numbers():
    assert sorted(["conv2d_10", "conv2d_9", "conv2d"], key=by_number) == ["conv2d", "conv2d_9", "conv2d_10"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w.pop("conv1/conv1/bias"), "0 tensors are called .*conv1/bias"),
        (lambda w: w.pop("decoder/dense_9/bias"), "3 tensors are called .*dense.*, and 2 .*dense"),
        (lambda w: w.update({"decoder/dense_11/kernel": draw(6, 199)}), "sizes of its tensors do not go together"),
        (lambda w: w.update({"conv2/conv2/kernel": draw(3, 3, 6, 6)}), "the layout has no conv2/conv2/kernel"),
        (lambda w: w.update({"conv1/conv1/bias": draw(6, 1)}), "has 2 axes, not 1"),
        (lambda w: w.update({"conv1/conv1/bias": draw(5)}), "conv.bias is .5,. in the file and .6,. in the model"),
        (lambda w: w.update({"conv1/conv1/kernel": draw(3, 5, 2, 6)}), "3 rows and 5 columns"),
        (lambda w: w.update({"digitcaps/digitcaps/W": draw(3, 16, 5, 4)}), "8 positions, which is no square"),
        (lambda w: w.update({"digitcaps/digitcaps/W": draw(3, 18, 5, 3)}), "do not make capsules of 3"),
        (lambda w: w.update({"conv1/conv1/bias": draw(6) * torch.nan}), "infinite or no numbers, in conv.bias"),
    ],
)
def test_a_file_that_does_not_follow_its_layout_is_refused_with_the_reason(tmp_path, change, reason):
    w = xifeng()
    change(w)
    write_keras(tmp_path / "w.h5", w)
    with pytest.raises(UserError, match=reason):
        import_weights(tmp_path / "w.h5", "xifeng_keras", Told())


def test_a_size_that_the_file_does_not_tell_is_asked_for(tmp_path):
    write_keras(tmp_path / "w.h5", {name: tensor for name, tensor in xifeng().items() if "decoder" not in name})
    with pytest.raises(UserError, match="images of 9 to 10 rows; name them with --size"):
        import_weights(tmp_path / "w.h5", "xifeng_keras", Told())
    with pytest.raises(UserError, match="do not fit its shapes, which need 9 to 10"):
        import_weights(tmp_path / "w.h5", "xifeng_keras", Told(size=11))
    model, notes = import_weights(tmp_path / "w.h5", "xifeng_keras", Told(size=9, iterations=2))
    assert model.image == (2, 9, 9) and "2 routing iterations are assumed" in notes[0]


def test_a_temperature_that_changes_between_iterations_is_refused(tmp_path):
    w, config = capsulewise()
    config[-1][1]["b_alphas"] = [1, 2, 3]
    write_keras(tmp_path / "w.h5", w, config)
    with pytest.raises(UserError, match="b_alphas=.1, 2, 3.: those after the first"):
        import_weights(tmp_path / "w.h5", "capsulewise", Told())


def test_another_padding_than_is_known_is_refused(tmp_path):
    w, config, *_ = q7((1,))
    config[1][1]["padding"] = "same"
    write_keras(tmp_path / "w.h5", w, config)
    with pytest.raises(UserError, match="its configuration pads Conv2D"):
        import_weights(tmp_path / "w.h5", "q7", Told())


@pytest.mark.parametrize(("layout", "reason"), REFUSED.items())
def test_what_cannot_be_expressed_is_refused_with_the_reason(layout, reason):
    assert refused("import", "w.pt", "--from", layout, "--out", "net").endswith(
        f"{layout} is not imported: {reason}.\n"
    )


def test_an_unknown_layout_names_the_nearest():
    assert "Did you mean 'notebook'?" in refused("import", "w.pt", "--from", "notebok", "--out", "net")


class Attack:
    def __reduce__(self):
        return os.system, ("touch touched",)


@pytest.mark.parametrize("content", [{"model_state_dict": Attack()}, {"conv1.conv.weight": draw(2), "x": Attack()}])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "w.pth")
    assert "which is never executed" in refused("import", "w.pth", "--from", "notebook", "--out", "net")
    assert not (tmp_path / "touched").exists() and not (tmp_path / "net").exists()


@pytest.mark.parametrize("content", [b"", b"no file of anybody", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("layout", ["notebook", "q7"])
def test_a_damaged_file_is_refused_by_name(tmp_path, content, layout):
    (tmp_path / "w").write_bytes(content)
    assert f"{tmp_path}/w cannot be read as" in refused("import", tmp_path / "w", "--from", layout, "--out", "net")


def test_no_link_out_of_a_file_is_followed(tmp_path):
    write_keras(tmp_path / "other.h5", {"conv1/conv1/bias": draw(6)})
    with h5py.File(tmp_path / "w.h5", "w") as data:
        data["conv1"] = h5py.ExternalLink("other.h5", "conv1")
    with pytest.raises(UserError, match="which is not followed"):
        import_weights(tmp_path / "w.h5", "xifeng_keras", Told())


def test_the_command_makes_a_folder_that_predicts_and_evaluates(tmp_path, monkeypatch, digit):
    monkeypatch.chdir(tmp_path)
    w = xifeng(channels=1, rows=8, wholes=10)
    write_keras("w.h5", {name: tensor.float() for name, tensor in w.items()})
    digit_file = digit_image(digit)
    words = ("import", "w.h5", "--from=xifeng_keras", "--out", "net", "--classes", *"0123456789")
    code, out, err = said(*words)
    assert (code, out) == (0, "net: capsnet, 2,953 parameters, images of 1x8x8, 10 classes\n")
    assert err == "Notice: 3 routing iterations are assumed: the file does not say how many.\n"
    described = json.loads((tmp_path / "net/config.json").read_text())["imported"]
    content = (tmp_path / "w.h5").read_bytes()
    assert described["from"] == "xifeng_keras" and described["sha256"] == hashlib.sha256(content).hexdigest()
    assert "routing iterations are assumed" in (tmp_path / "net/README.md").read_text()
    assert "exists already" in refused(*words)
    assert said("predict", "net", digit_file)[0] == 0
    assert "name a data set with --data" in refused("evaluate", "net")
    code, out, _ = said("evaluate", "net", "--data", "digits")
    assert code == 0 and out.startswith("test accuracy ") and "loss" not in out


def test_a_training_goes_on_from_imported_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_keras("w.h5", {name: tensor.float() for name, tensor in xifeng(channels=1, rows=8, wholes=10).items()})
    assert said("import", "w.h5", "--from", "xifeng_keras", "--out", "net")[0] == 0
    still = ["--lr", "1e-12", "--ema", "0", "--steps", "2", "--progress", "none"]
    run = parse(RUN, ["--config", "net/config.json", "--start", "net", *still])
    assert run.model == load("net").choice
    run_ranks(1, trained, run)
    before, after = (load(folder).state_dict() for folder in ("net", "run"))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(build_network(replace(run, start=None)), before, rtol=0, atol=1e-2)


def test_weights_of_another_network_are_no_start(tmp_path):
    save(build(RUN.model.replace(dim=7), (1, 8, 8), tuple("0123456789")), tmp_path / "net")
    with pytest.raises(UserError, match="--start .* is another network than that of this run"):
        build_network(replace(RUN, start=str(tmp_path / "net")))


def build_network(run):
    from accelerate import Accelerator

    split = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))
    order = make_order("uniform", split.labels, 4, 0)
    batches = Batches(split, augmentations("none").build(), order, torch.float32)
    model = network.build_network(run, batches, tuple("0123456789"), None, Accelerator(cpu=True))
    return model.state_dict()


@pytest.fixture
def digit():
    return torch.arange(64, dtype=torch.uint8).reshape(8, 8)


def digit_image(pixels):
    from PIL import Image

    Image.fromarray(pixels.numpy()).save("digit.png")
    return "digit.png"
