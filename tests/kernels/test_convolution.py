"""The fast convolution is nn.Conv2d, but for rounding and time."""

import copy
import os
import pickle
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from einops import rearrange
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from torch import nn

from capsnet_dist import build, decoders, models, primaries
from capsnet_dist.kernels import FastConv2d
from capsnet_dist.kernels.convolution import conv2d as convolution
from capsnet_dist.kernels.convolution import patches
from capsnet_dist.kernels.convolution import transforms as bilinear
from capsnet_dist.kernels.convolution.function import convolve
from capsnet_dist.kernels.convolution.tiling import Side, Tiling, cheapest

BILINEAR = ("bilinear", "bilinear_loose")


def pair(*sizes, algorithm="bilinear", dtype=torch.float64, **options):
    """A fast convolution and the library's, with the same weights."""
    torch.manual_seed(0)
    slow = nn.Conv2d(*sizes, **options).to(dtype)
    fast = FastConv2d(*sizes, **options, algorithm=algorithm).to(dtype)
    fast.load_state_dict(slow.state_dict())
    return fast, slow


def results(conv, maps, weight=1.0):
    """Output, and the gradients by input and parameters of a weighted sum of it."""
    maps = maps.detach().clone().requires_grad_()
    output = conv(maps)
    return output, *torch.autograd.grad(output, [maps, *conv.parameters()], torch.full_like(output, weight).cumsum(1))


def is_bilinear(output):
    return "BilinearConvolution" in str(output.grad_fn.next_functions)


@dataclass
class Shape:
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    size: tuple[int, int]


@st.composite
def shapes(draw):
    def sides(low, high):
        return draw(st.tuples(st.integers(low, high), st.integers(low, high)))

    kernel = sides(1, 11)
    stride = tuple(draw(st.integers(1, min(4, side))) for side in kernel)
    shape = Shape(kernel, stride, sides(0, 3), sides(1, 24))
    assume(all(length + 2 * pad >= k for k, pad, length in zip(kernel, shape.padding, shape.size, strict=True)))
    return shape


@settings(max_examples=60, deadline=None)
@given(shapes(), st.integers(1, 3), st.sampled_from(BILINEAR), st.booleans())
@example(Shape((8, 1), (1, 1), (1, 0), (17, 1)), 2, "bilinear_loose", False)  # lost six digits to an inverted V_n
@example(Shape((1, 2), (1, 1), (0, 2), (1, 2)), 1, "bilinear", False)  # tiles one column wide, which overlap
def test_values_and_gradients_are_those_of_the_library(shape, batch, algorithm, bias):
    fast, slow = pair(
        2, 3, shape.kernel, shape.stride, padding=shape.padding, bias=bias, algorithm=algorithm, dtype=torch.float64
    )
    maps = torch.randn(batch, 2, *shape.size, dtype=torch.float64)
    found = results(fast, maps)
    assert is_bilinear(found[0])
    for one, other in zip(found, results(slow, maps), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["accurate", "loose"])
@pytest.mark.parametrize("taps", [(5, 5), (2, 5), (3, 1)])
@pytest.mark.parametrize("short", [(False, False), (False, True), (True, False)])
@pytest.mark.parametrize("tile", [(6, 6), (1, 4), (12, 3)])
def test_products_at_the_points_give_the_sliding_sum(kind, taps, short, tile):
    taps_left = tuple(r - less for r, less in zip(taps, short, strict=True))
    if min(taps_left) < 1:
        return
    found = bilinear.algorithm(tile, taps, short, kind, torch.float64, torch.device("cpu"))
    inputs = torch.randn([m + r - 1 for m, r in zip(tile, taps_left, strict=True)], dtype=torch.float64)
    filter_ = torch.randn(taps_left, dtype=torch.float64)
    values, result = found.outputs.empty(inputs, 1, "a"), torch.empty(*tile, 1, dtype=torch.float64)
    for point, size in enumerate(found.outputs.sizes):
        factors = torch.empty(2, size, 1, dtype=torch.float64)
        found.inputs.factors(inputs[..., None], point, factors[0])
        found.taps.factors(filter_[..., None], point, factors[1])
        found.outputs.add_up(factors.prod(dim=0), point, values)
    found.outputs.tiles(values, result)
    expected = nn.functional.conv2d(inputs[None, None], filter_[None, None])[0, 0]
    torch.testing.assert_close(result[..., 0], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "long", "short"), [("accurate", 142, 117), ("loose", 118, 97)])
def test_the_paper_s_layer_takes_few_products(kind, long, short):
    counts = [
        sum(bilinear.algorithm((6, 6), (5, 5), less, kind, torch.float64, torch.device("cpu")).outputs.sizes)
        for less in [(False, False), (True, True)]
    ]
    assert counts == [long, short]  # the direct sum takes 36 x 25 and 36 x 16


@pytest.mark.parametrize(("algorithm", "bound"), [("bilinear", 2.0), ("bilinear_loose", 8.0)])
@pytest.mark.parametrize("seed", range(3))
def test_rounding_errors_are_bounded_by_those_of_the_library(algorithm, bound, seed):
    fast, slow = pair(64, 32, 9, 2, algorithm=algorithm, dtype=torch.float32)
    exact = copy.deepcopy(slow).double()
    maps = torch.randn(4, 64, 20, 20, generator=torch.Generator().manual_seed(seed)).relu()
    expected = results(exact, maps.double())
    of_fast, of_slow = (
        [(one - exactly).square().mean().sqrt() for one, exactly in zip(results(conv, maps), expected, strict=True)]
        for conv in (fast, slow)
    )
    for name, one, other in zip(("output", "input", "weight"), of_fast, of_slow, strict=False):  # the bias is a sum
        assert one <= bound * other, name


@pytest.mark.parametrize(("kind", "bound"), [("accurate", 4e-7), ("loose", 2e-6)])  # rounding one number: 6e-8
@pytest.mark.parametrize(("taps", "tile"), [(3, 6), (5, 1), (5, 4), (5, 6), (7, 1), (8, 12), (9, 2), (9, 8)])
def test_errors_are_small_at_every_number_of_points(kind, bound, taps, tile):
    side = Side(taps, 1, 0, tile + taps - 1, tile)
    for dtype, allowed in [(torch.float32, bound), (torch.float64, 1e-8 * bound)]:
        maps = torch.randn(2, 16, side.length, side.length, dtype=dtype)
        weight, bias = torch.randn(8, 16, taps, taps, dtype=dtype), torch.zeros(8, dtype=dtype)
        fast = gradients(lambda *x: convolve(*x, Tiling(side, side, kind)), maps, weight, bias)
        exact = gradients(nn.functional.conv2d, maps.double(), weight.double(), bias.double())
        for one, other in zip(fast, exact, strict=True):
            assert (one - other).square().mean().sqrt() <= allowed * other.square().mean().sqrt()


def gradients(function, *inputs):
    inputs = [tensor.requires_grad_() for tensor in inputs]
    output = function(*inputs)
    return output, *torch.autograd.grad(output, inputs[:2], torch.ones_like(output).cumsum(2))


@pytest.mark.parametrize("algorithm", BILINEAR)
def test_gradients_and_gradients_of_gradients_are_those_of_the_function(algorithm):
    fast, _ = pair(1, 2, (3, 2), algorithm=algorithm)
    tiling = cheapest((3, 2, 1, 5), (2, 1, 0, 3), 2, (1, 2), algorithm, in_panels=False)
    inputs = (torch.randn(2, 1, 5, 3, dtype=torch.float64, requires_grad=True), fast.weight, fast.bias)

    def function(*inputs):
        return convolve(*inputs, tiling)

    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_weights_load_from_the_library_s_convolution_and_back():
    fast, slow = FastConv2d(3, 4, 9, 2), nn.Conv2d(3, 4, 9, 2)
    assert [(key, value.shape) for key, value in fast.state_dict().items()] == [
        (key, value.shape) for key, value in slow.state_dict().items()
    ]
    fast.load_state_dict(slow.state_dict())
    slow.load_state_dict(fast.state_dict())
    assert isinstance(fast, nn.Conv2d) and torch.equal(fast.weight, slow.weight)


def test_it_starts_from_the_weights_that_the_library_starts_from():
    weights = []
    for kind in (FastConv2d, nn.Conv2d):
        torch.manual_seed(3)
        weights.append(kind(3, 4, 9, 2).weight)
    assert torch.equal(*weights)


def test_two_calls_give_the_same_bits():
    fast, _ = pair(8, 16, 9, 2, dtype=torch.float32)
    maps = torch.randn(4, 8, 20, 20)
    assert all(torch.equal(one, other) for one, other in zip(results(fast, maps), results(fast, maps), strict=True))


@pytest.mark.parametrize(
    "layout", ["b c h w -> b h w c", "b c h w -> h w b c", "b c h w -> b c w h", "b c h w -> c b h w"]
)
def test_the_order_in_memory_does_not_matter(layout):
    fast, slow = pair(3, 4, 5, 2, padding=2)
    maps = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    inner = rearrange(maps, layout).contiguous()
    there, here = layout.split(" -> ")
    same = rearrange(inner, f"{here} -> {there}")
    weight = slow.weight.detach().to(memory_format=torch.channels_last)
    fast.weight = nn.Parameter(weight)
    output = fast(same)
    assert is_bilinear(output)
    torch.testing.assert_close(output, slow(maps))
    output.square().sum().backward()
    slow(maps).square().sum().backward()
    torch.testing.assert_close(fast.weight.grad, slow.weight.grad)


@pytest.mark.parametrize(
    "wanted", [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]
)
def test_only_the_wanted_gradients_are_computed(wanted):
    fast, slow = pair(2, 3, 5, 2)
    gradients = []
    for conv in (fast, slow):
        maps = torch.ones(1, 2, 9, 9, dtype=torch.float64).cumsum(2).requires_grad_(wanted[0])
        conv.weight.requires_grad_(wanted[1])
        conv.bias.requires_grad_(wanted[2])
        conv(maps).square().sum().backward()
        gradients.append([maps.grad, conv.weight.grad, conv.bias.grad])
        assert [gradient is not None for gradient in gradients[-1]] == list(wanted)
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_calls_may_interleave():
    fast, slow = pair(2, 3, 5)
    first, second = torch.randn(2, 1, 2, 9, 9, dtype=torch.float64)
    for conv in (fast, slow):
        conv.zero_grad()
        a = conv(first)
        b = conv(second)
        with torch.no_grad():
            conv(first + second)
        a.square().sum().backward(retain_graph=True)
        b.square().sum().backward()
        a.square().sum().backward()
    torch.testing.assert_close(fast.weight.grad, slow.weight.grad)


def test_threads_do_not_share_memory():
    fast, slow = pair(4, 8, 9, 2)
    inputs = torch.randn(8, 2, 4, 20, 20, dtype=torch.float64)
    with ThreadPoolExecutor(4) as pool:
        for output, maps in zip(pool.map(fast, inputs), inputs, strict=True):
            torch.testing.assert_close(output, slow(maps))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_transformed_weight_is_kept_only_while_the_weight_stays_the_same(context, monkeypatch):
    transformed, original = [], convolution.transform_weight
    monkeypatch.setattr(convolution, "transform_weight", lambda *args: transformed.append(1) or original(*args))
    fast, slow = pair(2, 3, 5, 2)
    maps = torch.randn(2, 2, 12, 12, dtype=torch.float64)

    def same():
        with context():
            torch.testing.assert_close(fast(maps), slow(maps))
        return len(transformed)

    assert [same(), same()] == [1, 1]
    fast.weight.data.mul_(2)  # which no version counter sees
    slow.weight.data.mul_(2)
    assert [same(), same()] == [2, 2]
    torch.testing.assert_close(results(fast, maps), results(slow, maps))  # training drops what was kept
    assert same() == 3
    fast.float(), slow.float()
    maps = maps.float()
    assert same() == 4


def test_training_may_follow_inference():
    fast, slow = pair(2, 3, (5, 7), 2)
    maps = torch.randn(2, 2, 12, 14, dtype=torch.float64)

    def infer_then_train():
        with torch.inference_mode():
            fast(maps)
        return results(fast, maps)

    bilinear.algorithm.cache_clear()
    with ThreadPoolExecutor(1) as pool:  # a new thread, whose memory inference is the first to use
        torch.testing.assert_close(pool.submit(infer_then_train).result(), results(slow, maps))


def test_copies_carry_the_weights_and_nothing_else():
    fast, _ = pair(2, 3, 5, 2)
    maps = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    size = len(pickle.dumps(fast))
    with torch.no_grad():
        expected = fast(maps)
    assert len(pickle.dumps(fast)) == size
    for other in (copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
        assert torch.equal(other(maps), expected)
        other.weight.data.zero_()
    assert torch.equal(fast(maps), expected)


@pytest.mark.parametrize("options", [{"dilation": 2}, {"groups": 2}, {"stride": (1, 6)}])
def test_what_it_cannot_do_is_left_to_the_library(options):
    fast, slow = pair(2, 4, 5, **options)
    maps = torch.randn(1, 2, 12, 12, dtype=torch.float64)
    assert torch.equal(fast(maps), slow(maps))
    assert torch.equal(fast(maps[0]), slow(maps[0]))


def test_autocast_is_the_library_s():
    fast, slow = pair(2, 4, 5, dtype=torch.float32)
    maps = torch.randn(2, 2, 12, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert fast(maps).dtype is torch.bfloat16 and torch.equal(fast(maps), slow(maps))
    assert torch.equal(fast.bfloat16()(maps.bfloat16()), slow.bfloat16()(maps.bfloat16()))


def test_a_compiler_sees_the_library_s(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    fast, slow = pair(2, 4, 5)
    maps = torch.randn(2, 2, 12, 12, dtype=torch.float64)
    assert torch.equal(fast(maps), slow(maps))


def test_wrong_maps_are_refused_as_by_the_library():
    fast, _ = pair(2, 4, 5)
    with pytest.raises(RuntimeError, match="channels"):
        fast(torch.zeros(1, 3, 12, 12, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="Kernel size"):
        fast(torch.zeros(1, 2, 4, 12, dtype=torch.float64))
    with pytest.raises(RuntimeError, match="dtype|type"):
        fast(torch.zeros(1, 2, 12, 12))
    assert fast(torch.zeros(0, 2, 12, 12, dtype=torch.float64)).shape == (0, 4, 8, 8)
    assert fast.to("meta")(torch.zeros(1, 2, 12, 12, dtype=torch.float64, device="meta")).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("in_panels", [False, True])
def test_sizes_and_panels_choose_the_algorithm(in_panels):
    side, wide = (9, 2, 0, 20), (9, 1, 4, 200)

    def chosen(batch, channels, algorithm="auto", side=side):
        return cheapest(side, side, batch, (channels, channels), algorithm, in_panels=in_panels)

    assert chosen(128, 256).rows.tile == 6
    assert (chosen(8, 256) is not None) == in_panels
    assert chosen(2, 256) is chosen(128, 4) is chosen(128, 256, "direct") is None
    assert chosen(16, 64, side=wide).rows.tile <= 12


@pytest.mark.parametrize("options", [{}, {"stride": (2, 1), "padding": (1, 2), "bias": False}])
def test_patches_times_weights_are_the_convolution(options, monkeypatch):
    monkeypatch.setattr(convolution, "FEWEST_OUTPUTS", 1)
    fast, slow = pair(1, 32, (5, 4), algorithm="auto", **options)
    maps = torch.randn(3, 1, 12, 13, dtype=torch.float64)
    outputs = [conv(maps) for conv in (fast, slow)]
    assert not outputs[0].is_contiguous()  # positions first
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(results(fast, maps), results(slow, maps))
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(fast.weight.grad, slow.weight.grad)


def test_few_positions_are_multiplied_by_a_large_weight_unless_it_is_trained(monkeypatch):
    monkeypatch.setattr(convolution, "LARGE_WEIGHT", 1)
    fast, slow = pair(3, 5, 5, 2, 1, algorithm="auto")
    maps = torch.randn(2, 3, 12, 13, dtype=torch.float64)
    assert fast(maps).is_contiguous()  # the library's
    with torch.no_grad():
        assert not fast(maps).is_contiguous()  # positions first
        torch.testing.assert_close(fast(maps), slow(maps))
        assert fast(maps.repeat(3, 1, 1, 1)).is_contiguous()
        with pytest.raises(RuntimeError, match="greater than actual input"):
            fast(maps[..., :2, :2])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [7, 2048])
def test_a_product_on_patches_is_rectified(bias, rows, monkeypatch):
    monkeypatch.setattr(patches, "ROWS", rows)
    monkeypatch.setattr(convolution, "FEWEST_OUTPUTS", 1)
    fast, slow = pair(1, 32, 5, algorithm="auto", bias=bias)
    fast.rectify = True
    maps = torch.randn(3, 1, 12, 13, dtype=torch.float64)
    found = [fast(maps), slow(maps).relu()]
    assert "RectifiedProduct" in str(found[0].grad_fn.next_functions[0][0].next_functions)
    torch.testing.assert_close(*found)
    g = torch.randn_like(found[0])
    gradients = [torch.autograd.grad(y, conv.parameters(), g) for y, conv in zip(found, (fast, slow), strict=True)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("algorithm", ["auto", "direct", "bilinear"])
def test_a_relu_follows_however_it_is_computed(algorithm):
    fast, slow = pair(3, 4, 9, stride=2, algorithm=algorithm)
    fast.rectify = True
    maps = torch.randn(2, 3, 21, 20, dtype=torch.float64, requires_grad=True)
    found = [fast(maps), slow(maps).relu()]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*[torch.autograd.grad(y.square().sum(), maps)[0] for y in found])


def test_gradients_of_the_rectified_product_are_those_of_the_function():
    x = torch.randn(9, 6, dtype=torch.float64)
    weight, bias = (torch.randn(4, *shape, dtype=torch.float64, requires_grad=True) for shape in ((6,), ()))
    for b in (bias, None):
        assert torch.autograd.gradcheck(patches.rectified_product, (x, weight, b))
        assert torch.autograd.gradgradcheck(patches.rectified_product, (x, weight, b))


def capsnet(algorithm, decoder="masked"):
    torch.manual_seed(0)
    options = {"channels": 6, "primary_types": 2, "kernel": 5, "primary_kernel": 5}
    choice = models("capsnet", **options, convolution=algorithm, decoder=decoders(decoder))
    return build(choice, (1, 14, 13), ("0", "1", "2")).double()


@pytest.mark.parametrize("algorithm", [*BILINEAR, "auto"])
def test_networks_compute_the_same_by_any_algorithm(algorithm):
    images, labels = torch.rand(4, 1, 14, 13, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    found = []
    for model in (capsnet(algorithm), capsnet("direct")):
        output = model(images, labels)
        (output.scores.square().sum() + output.reconstruction.square().sum()).backward()
        found.append([output.scores, *(parameter.grad for parameter in model.parameters())])
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


def test_primary_capsules_take_the_algorithm_as_an_option():
    assert primaries("vector", convolution="bilinear").build((4, 12, 12)).conv.algorithm == "bilinear"


def gradients_of(images, world):
    model, rank = capsnet("bilinear", "none"), 0
    if world > 1:
        model, rank = nn.parallel.DistributedDataParallel(model), torch.distributed.get_rank()
    model(images.chunk(world)[rank]).scores.square().mean().backward()
    return [parameter.grad for parameter in model.parameters()]


def distributed(images):
    torch.distributed.init_process_group("gloo")
    found = [gradient.tolist() for gradient in gradients_of(images, 2)]
    torch.distributed.destroy_process_group()
    return found


def test_processes_that_share_a_batch_find_the_gradients_of_one():
    images = torch.rand(4, 1, 14, 13, dtype=torch.float64)
    found = run_ranks(2, distributed, images)
    for one, other in zip(found, gradients_of(images, 1), strict=True):
        torch.testing.assert_close(torch.tensor(one, dtype=torch.float64), other)


HALF = [  # samples, channels, side of the maps, filters, kernel, stride, rectified
    (3, 1, 9, 16, 5, 1, True),  # patches
    (2, 3, 8, 16, 5, 2, False),
    (3, 16, 7, 16, 5, 2, False),  # taps that no output has
    (70, 16, 6, 32, 5, 1, True),  # more samples than one program holds
    (2, 32, 9, 48, (5, 6), 3, True),
]


def half_errors(case, dtype, device):
    """Relative errors of ours and of the library's, of the output and the gradients, against float64."""
    batch, channels, side, filters, kernel, stride, rectified = case
    torch.manual_seed(0)
    ours = FastConv2d(channels, filters, kernel, stride, rectify=rectified).to(device, dtype)
    maps = torch.randn(batch, channels, side, side, device=device).to(dtype).requires_grad_(channels >= 16)
    weight = None
    found = []
    for conv, x in ((ours, maps), (copy.deepcopy(ours), maps), (copy.deepcopy(ours).double(), maps.double())):
        conv.algorithm = "auto" if conv is ours else "direct"
        leaf = x.detach().requires_grad_(maps.requires_grad)
        output = conv(leaf)
        weight = torch.randn_like(output) if weight is None else weight
        wanted = [*([leaf] if leaf.requires_grad else []), *conv.parameters()]
        found.append([output, *torch.autograd.grad(output, wanted, weight.to(output.dtype))])
    ours, library, exact = found
    assert [(x.shape, x.dtype) for x in ours] == [(x.shape, x.dtype) for x in library]
    return [[((x - y).norm() / y.norm()).item() for x, y in zip(some, exact, strict=True)] for some in (ours, library)]


HALF_INTERPRETED = """
    import torch
    from test_convolution import HALF, half_errors
    from capsnet_dist.kernels import backends
    backends.fits_triton = lambda tensor: tensor.dtype is torch.float16
    for case in HALF:
        ours, library = half_errors(case, torch.float16, "cpu")
        assert max(ours) < 1e-3, (case, ours, library)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_convolutions_of_16_bits_are_convolutions():
    """In a process that has Triton's interpreter, which knows no products of bfloat16."""
    program = [sys.executable, "-c", textwrap.dedent(HALF_INTERPRETED)]
    folders = os.pathsep.join(map(str, Path(__file__).parents[:2]))  # of this file and of conftest.py
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": folders}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", [*HALF, (300, 256, 20, 256, 9, 2, False), (150, 1, 28, 256, 9, 1, True)])
def test_rounding_errors_of_16_bits_are_bounded_by_those_of_the_library(case, dtype):
    ours, library = half_errors(case, dtype, "cuda")
    assert all(x <= 2 * y + 1e-6 for x, y in zip(ours, library, strict=True)), (ours, library)
    assert [ours, library] == half_errors(case, dtype, "cuda")  # the same bits again


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_autocast_takes_the_kernels_of_16_bits_and_gives_gradients_of_the_weight_s_type():
    conv = FastConv2d(16, 32, 5, 2).cuda()
    maps = torch.randn(4, 16, 9, 9, device="cuda", requires_grad=True)
    with torch.autocast("cuda", torch.bfloat16):
        output = conv(maps)
    assert output.dtype is torch.bfloat16 and "HalfConvolution" in type(output.grad_fn).__name__
    output.float().square().sum().backward()
    assert conv.weight.grad.dtype is conv.bias.grad.dtype is maps.grad.dtype is torch.float32
    with torch.autocast("cuda", torch.bfloat16):
        plain = nn.functional.conv2d(maps, conv.weight, conv.bias, 2)
    torch.testing.assert_close(output, plain, rtol=2e-2, atol=2e-2)
