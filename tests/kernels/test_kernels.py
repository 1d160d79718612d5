"""Votes that are never stored give what the stored ones give: values, gradients, bits, and far less memory."""

import json
import os
import subprocess
import sys
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capsnet_dist import Capsules, Grid, Votes, layers, routings
from capsnet_dist.kernels import backends
from capsnet_dist.kernels.gaussian import function as gaussian
from capsnet_dist.kernels.gaussian import plain as gaussian_cpu
from capsnet_dist.kernels.routing import function as dynamic
from capsnet_dist.kernels.routing import plain as routing_cpu
from capsnet_dist.kernels.routing.function import Rules
from capsnet_dist.kernels.votes import folded
from capsnet_dist.kernels.votes import function as votes
from capsnet_dist.kernels.votes import plain as votes_cpu

votes_module = sys.modules["capsnet_dist.votes"]
BACKENDS = pytest.mark.parametrize("backend", ["torch", "numba"], indirect=True)
SIZES = [(2, 4, 2, 3, 2), (1, 1, 1, 1, 1), (2, 1, 3, 2, 2), (2, 4, 2, 1, 3), (4, 3, 2, 2, 1)]  # b i p j d
DIFFERENCES = pytest.mark.parametrize(
    ("backend", "sizes"),
    [*(("torch", sizes) for sizes in SIZES), *(("numba", sizes) for sizes in SIZES[:2])],
    indirect=["backend"],
)
"""What gradients are compared with finite differences of; those of numba are elsewhere those of torch, to 1e-12."""
FACTORS = st.sampled_from([1.0, 0.125, 3.0])
RULES = st.builds(Rules, st.integers(1, 4), st.booleans(), st.booleans(), FACTORS, FACTORS)


@pytest.fixture
def backend(request, monkeypatch):
    """What computes, however small the votes; hypothesis' examples share it."""
    if request.param == "numba":
        pytest.importorskip("numba")
    needed = {"torch": (), "numba": ("numba", "llvmlite")}[request.param]
    monkeypatch.setattr(backends, "installed", lambda package: package in needed)
    monkeypatch.setattr(votes_module, "LARGE", 0)


def example(sizes, dtype=torch.float64, scale=1.0, seed=0):
    b, i, p, j, d = sizes
    generator = torch.Generator().manual_seed(seed)
    shapes = {"poses": (b, i, p), "weight": (i, j, d, p), "prior": (i, j), "bias": (j, d)}
    return [(scale * torch.randn(shape, generator=generator)).to(dtype).requires_grad_() for shape in shapes.values()]


def composed(poses, weight, prior, bias, rules):
    """The routing by stored votes."""
    _, wholes, dim, _ = weight.shape
    gradient = "full" if rules.through else "last"
    options = {"leaky": rules.leaky, "priors": prior is not None, "bias": bias is not None}
    options |= {"temperature": rules.temperature, "scale": rules.scale}
    routing = routings("dynamic", iterations=rules.iterations, gradient=gradient, **options).build(
        poses.shape[1], poses.shape[2], wholes, dim
    )
    for name, parameter in (("priors", prior), ("bias", bias)):
        if parameter is not None:
            delattr(routing, name)
            setattr(routing, name, parameter)
    stored = Votes(poses, weight)
    stored.dense()
    return routing(stored, poses.new_ones(poses.shape[:2])).poses


def routed(poses, weight, prior, bias, rules):
    """The routing without stored votes, which takes logits over the temperature."""
    return dynamic.route(poses, weight, None if prior is None else prior / rules.temperature, bias, rules)


def gradients(output, inputs, **options):
    weight = torch.cos(torch.arange(output.numel(), dtype=output.dtype, device=output.device)).reshape(output.shape)
    return torch.autograd.grad((output * weight).sum(), inputs, allow_unused=True, **options)


def same(actual, expected, tolerance):
    """Relative to the largest number of each tensor."""
    for x, y in zip(actual, expected, strict=True):
        y = torch.zeros_like(x) if y is None else y
        largest = max(1.0, y.detach().abs().max().item())
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance * largest)


@BACKENDS
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    sizes=st.tuples(*[st.integers(1, n) for n in (20, 9, 9, 6, 5)]),
    rules=RULES,
    used=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from([torch.float64, torch.float32]),
)
def test_fused_routing_is_composed_routing(backend, sizes, rules, used, dtype):
    poses, weight, *others = example(sizes, dtype, 0.7)
    prior, bias = (x if there else None for x, there in zip(others, used, strict=True))
    inputs = [x for x in (poses, weight, prior, bias) if x is not None]
    expected = composed(poses, weight, prior, bias, rules)
    fused = routed(poses, weight, prior, bias, rules)
    tolerance = 1e-12 if dtype is torch.float64 else 1e-5
    same([fused], [expected], tolerance)
    same(gradients(fused, inputs), gradients(expected, inputs), tolerance)


@DIFFERENCES
@pytest.mark.parametrize("through", [True, False])
def test_gradients_of_fused_routing_match_finite_differences(backend, sizes, through):
    inputs = example(sizes)
    if through:
        assert torch.autograd.gradcheck(lambda *x: dynamic.route(*x, Rules(3, True)), inputs)
        assert torch.autograd.gradcheck(lambda u, w: dynamic.route(u, w, None, None, Rules(3)), inputs[:2])
    else:
        assert torch.autograd.gradcheck(lambda *x: dynamic.route(*x, Rules(1, False, False)), inputs)


@BACKENDS
def test_gradients_of_gradients_are_those_of_stored_votes(backend):
    inputs, rules = example((2, 3, 2, 3, 2)), Rules(3, True, temperature=0.5, scale=2.0)
    seconds = []
    for function in (routed, composed):
        firsts = gradients(function(*inputs, rules), inputs, create_graph=True)
        seconds.append(gradients(torch.cat([x.flatten() for x in firsts]), inputs))
    same(*seconds, 1e-11)


def operands(sizes, rows, dtype=torch.float64, seed=0):
    """Poses, matrices, couplings, and two sets of what each whole has: all that the operations on votes take."""
    b, i, p, j, d = sizes
    generator = torch.Generator().manual_seed(seed)
    shapes = [(b, i, rows * p), (i, j, d, p), (b, i, j), (b, j, rows * d), (b, j, rows * d)]
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]


def operations(poses, weight, coupling, means, precisions):
    """Each operation with what it takes."""
    return [
        (votes.combine, (poses, weight, coupling)),
        (votes.agreement, (poses, weight, means)),
        (gaussian.distances, (poses, weight, means, precisions)),
        (gaussian.spread, (poses, weight, coupling, means)),
    ]


@DIFFERENCES
@pytest.mark.parametrize("rows", [1, 3])
def test_gradients_of_all_operations_match_finite_differences(backend, sizes, rows):
    for function, inputs in operations(*operands(sizes, rows)):
        assert torch.autograd.gradcheck(function, inputs)
        assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)  # all directions take a minute


@BACKENDS
@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("offset", [None, "of a part", "of each vote"])
def test_votes_give_the_same_stored_or_not(backend, rows, offset, monkeypatch):
    """Also matrices, whose rows share a transformation, and what is added to the votes."""
    b, i, p, j, d = 19, 7, 3, 5, 6  # more samples than are computed at a time, and numbers that fill no vector
    inputs = operands((b, i, p, j, d), rows)
    poses, weight, coupling, means, precisions = inputs
    shape = (i, rows * d) if offset == "of a part" else (i, j, rows * d)
    added = torch.randn(shape, generator=torch.Generator().manual_seed(1)).double().requires_grad_() if offset else None
    results = []
    for large in (0, 2**60):
        monkeypatch.setattr(votes_module, "LARGE", large)
        given_ = Votes(poses, weight, added)
        outputs = [given_.combine(coupling), given_.agreement(means)]
        outputs += [given_.distances(means, precisions), given_.spread(coupling, means)]
        assert ("_part_major" in vars(given_)) == (large > 0)
        wanted = [*inputs, *[added] * (offset is not None)]
        results.append([*outputs, *gradients(torch.cat([x.flatten() for x in outputs]), wanted)])
    same(*results, 1e-12)


@BACKENDS
@pytest.mark.parametrize("name", ["em", "heinsen", "variational_bayes"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gaussian_wholes_are_the_same_stored_or_not(backend, name, scale, monkeypatch):
    """In convolutional capsules, where windows overlap, with matrices as poses."""
    routing = routings(name)
    layer = layers("convolutional", types=3, dim=8, kernel=2, rows=2, routing=routing).build(Grid(2, 3, 3, 4)).double()
    generator = torch.Generator().manual_seed(0)
    poses = (scale * torch.randn(5, 18, 4, generator=generator)).double().requires_grad_()
    activations = torch.rand(5, 18, generator=generator).double().requires_grad_()
    wanted, results = [poses, activations, *layer.parameters()], []
    for large in (0, 2**60):
        monkeypatch.setattr(votes_module, "LARGE", large)
        found = layer(Capsules(poses, activations))
        results.append([*found, *gradients(torch.cat([x.flatten() for x in found]), wanted)])
        assert all(x.isfinite().all() for x in results[-1])
    same(*results, 1e-9)


@pytest.mark.parametrize("size", [2**10, 2**14, 2**30])
def test_blocks_do_not_change_the_result(size, monkeypatch):
    inputs = example((5, 40, 4, 6, 3))
    expected = gradients(composed(*inputs, Rules(3)), inputs)
    monkeypatch.setattr(backends, "installed", lambda package: False)
    monkeypatch.setattr(routing_cpu.blocks, "__defaults__", (1, size))
    same(gradients(dynamic.route(*inputs, Rules(3)), inputs), expected, 1e-12)


@BACKENDS
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e4])
def test_fused_routing_stays_finite(backend, scale):
    inputs = example((5, 40, 4, 6, 3), torch.float32)
    inputs[0] = (scale * inputs[0]).detach().requires_grad_()
    for leaky in (False, True):
        poses = dynamic.route(*inputs, Rules(3, leaky))
        assert all(x.isfinite().all() for x in (poses, *gradients(poses, inputs)))


@BACKENDS
def test_two_runs_and_any_number_of_threads_give_identical_bits(backend):
    inputs = example((20, 50, 4, 6, 5), torch.float32)
    runs = []
    for threads in (1, 1, 2, 3):
        if backend_is_numba():
            torch.set_num_threads(threads)
        poses = dynamic.route(*inputs, Rules(3))
        runs.append([poses, *gradients(poses, inputs)])
    torch.set_num_threads(1)
    for run in runs[1:]:
        assert all(torch.equal(x, y) for x, y in zip(run, runs[0], strict=True))


@BACKENDS
@pytest.mark.parametrize("sizes", [(70, 3, 4, 6, 5), (3, 70, 4, 6, 5)])  # gradients are added up over samples, or parts
def test_operations_give_identical_bits_for_any_number_of_threads(backend, sizes):
    runs = []
    for threads in (1, 1, 2, 3):
        if backend_is_numba():
            torch.set_num_threads(threads)
        found = [(f(*inputs), inputs) for f, inputs in operations(*operands(sizes, 2, torch.float32))]
        runs.append([x for output, inputs in found for x in (output, *gradients(output, inputs))])
    torch.set_num_threads(1)
    for run in runs[1:]:
        assert all(torch.equal(x, y) for x, y in zip(run, runs[0], strict=True))


def backend_is_numba():
    return backends.installed("numba")


@pytest.mark.parametrize("sizes", [(37, 21, 5, 4, 7), *SIZES])
def test_numba_and_torch_agree(sizes):
    routing_numba = pytest.importorskip("capsnet_dist.kernels.routing.numba")
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        poses, weight, prior, _ = (x.detach() for x in example(sizes, dtype))
        shape = 2, 2, sizes[0], *sizes[3:]
        gathered, gradient = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        for rest in (None, prior):
            for leaky in (False, True):
                one = (poses, weight, rest, gathered[0])
                all_ = (poses, weight, rest, gathered, gradient, gradient[0], leaky)
                pairs = [
                    [[module.total(*one, leaky), module.gathered_gradient(*one, gradient[0], leaky)]
                     + [x for through in (False, True) for x in module.input_gradients(*all_, through)]]
                    for module in (routing_numba, routing_cpu)
                ]  # fmt: skip
                same(pairs[0][0], pairs[1][0], tolerance)


@pytest.mark.parametrize("sizes", [(37, 5, 5, 4, 7), (5, 37, 5, 4, 7), *SIZES])
@pytest.mark.parametrize("rows", [1, 3, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_numba_and_torch_agree_on_all_operations(sizes, rows, dtype, tolerance):
    votes_numba = pytest.importorskip("capsnet_dist.kernels.votes.numba")
    gaussian_numba = pytest.importorskip("capsnet_dist.kernels.gaussian.numba")
    poses, weight, coupling, means, precisions = (x.detach() for x in operands(sizes, rows, dtype))
    u = votes.poses_by_rows(poses, weight)
    m, q = (votes.wholes_by_rows(x, weight) for x in (means, precisions))
    found = [
        [
            linear.combine(u, weight, coupling),
            linear.agreement(u, weight, m),
            *linear.input_gradients(u, weight, coupling, m),
            squared.distances(u, weight, m, q),
            squared.spread(u, weight, coupling, m),
            *squared.gradients(u, weight, coupling, m, q),
        ]
        for linear, squared in ((votes_numba, gaussian_numba), (folded.Folded(votes_cpu), gaussian_cpu))
    ]
    same(*found, tolerance)


def test_blocks_do_not_change_gaussian_gradients(monkeypatch):
    poses, weight, *others = (x.detach() for x in operands((5, 40, 4, 6, 3), 2))
    coupling, (m, q) = others[0], (votes.wholes_by_rows(x, weight) for x in others[1:])
    inputs = votes.poses_by_rows(poses, weight), weight, coupling, m, q
    expected = gaussian_cpu.gradients(*inputs)
    monkeypatch.setattr(gaussian_cpu, "NUMBERS", 1000)
    same(gaussian_cpu.gradients(*inputs), expected, 1e-12)


def test_watched_votes_are_combined_one_by_one(monkeypatch):
    """Who wraps the votes sees every coupling, however many there are."""
    monkeypatch.setattr(votes_module, "LARGE", 0)
    poses, weight, *_ = example((2, 3, 2, 3, 2))
    routing = routings("dynamic").build(3, 2, 3, 2).double()
    plain, watched, seen = Votes(poses, weight), Votes(poses, weight), []
    combine = watched.combine
    watched.combine = lambda coupling: seen.append(coupling) or combine(coupling)
    expected = routing(plain, poses[..., 0])
    torch.testing.assert_close(routing(watched, poses[..., 0]), expected)
    assert plain.plain and not watched.plain and len(seen) == 3


@BACKENDS
@pytest.mark.parametrize("name", ["dynamic", "kmeans"])
def test_a_layer_with_many_votes_is_exported_and_keeps_float32(backend, name):
    layer = layers("dense", wholes=3, dim=4, routing=routings(name)).build(Grid(6, 1, 1, 5)).eval()
    poses = torch.randn(4, 6, 5, generator=torch.Generator().manual_seed(0))
    below = Capsules(poses, torch.ones(4, 6))
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(layer, (below,), dynamic_shapes=(Capsules({0: batch}, {0: batch}),))
    torch.testing.assert_close(program.module()(below), layer(below))
    with torch.autocast("cpu", torch.bfloat16):
        cast = layer(below)
    torch.testing.assert_close(cast, layer(below), rtol=0, atol=0)
    torch.testing.assert_close(layer(below), _stored(layer, below))


def _stored(layer, below):
    votes_, activations = layer.votes(below)
    votes_.dense()
    return layer.routing(votes_, activations)


def test_other_votes_are_not_routed_at_once(monkeypatch):
    monkeypatch.setattr(votes_module, "LARGE", 0)
    poses, weight, *_ = example((2, 3, 4, 3, 2))
    others = [
        Votes(poses, weight, torch.ones(3, 2).double()),
        Votes(poses, weight[..., :2]),
        Votes(poses, weight, None, lambda logits: logits.softmax(dim=-2)),
        type("Other", (Votes,), {})(poses, weight),
    ]
    for given_ in others:
        assert not given_.plain
        routing = routings("dynamic").build(3, 4, 3, given_.dim).double()
        sparse = routing(given_, poses[..., 0])
        given_.dense()
        torch.testing.assert_close(routing(given_, poses[..., 0]), sparse, rtol=1e-12, atol=1e-12)


MEASURE = """
    import json, sys, torch
    from capsnet_dist import Votes
    from capsnet_dist.kernels import backends
    from capsnet_dist.kernels.routing import function as dynamic
    from capsnet_dist.kernels.gaussian import function as gaussian
    torch.set_num_threads(1)
    def example(batch, parts, part_dim, wholes, dim):
        torch.manual_seed(0)
        return torch.randn(batch, parts, part_dim), 0.1 * torch.randn(parts, wholes, dim, part_dim)
    def status(key):
        line = next(line for line in open("/proc/self/status") if line.startswith(key))
        return 1024 * int(line.split()[1])
    def extra(function, *sizes):
        u, W = example(16, *sizes[1:])
        function(u, W)  # what is compiled or loaded at the first call
        u, W = example(*sizes)
        open("/proc/self/clear_refs", "w").write("5")  # the peak is what there is now
        before = status("VmRSS")
        function(u, W)
        return status("VmHWM") - before
    def route(u, W, iterations=3):
        assert dynamic.route(u, W, None, None, dynamic.Rules(iterations)).isfinite().all()
    def twice(u, W):
        route(u, W, 2)
    def train(u, W):
        u.requires_grad_(), W.requires_grad_()
        dynamic.route(u, W, None, None, dynamic.Rules(3)).sum().backward()
    def fit(u, W):
        u.requires_grad_(), W.requires_grad_()
        means = torch.zeros(len(u), *W.shape[1:3])
        distances = gaussian.distances(u, W, means, means + 1)
        gaussian.spread(u, W, distances, means).sum().backward()
    mnist = 128, 1152, 8, 10, 16
    found = {"stored": extra(lambda u, W: Votes(u, W).dense(), *mnist)}
    for name in json.loads(sys.argv[1]):
        backends.installed = lambda package: package == name
        found[name] = [extra(function, *mnist) for function in (route, train, fit)]
        found[name].append(extra(twice, 128, 1024, 1, 196, 16))
    print(json.dumps(found))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to measure memory")
def test_memory_does_not_grow_with_the_votes():
    """In a process of its own, by what the system counts: the stored votes of MNIST at batch 128 take 94 MB."""
    names = ["torch", *["llvmlite"] * (find_spec("llvmlite") is not None)]
    program = [sys.executable, "-c", textwrap.dedent(MEASURE), json.dumps(names)]
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # what is freed is given back and not counted
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True, timeout=300)
    found = json.loads(done.stdout)
    megabyte = 10**6
    assert found["stored"] > 94 * megabyte  # the measure sees what is stored
    for name in names:
        forward, both, fitted, large = found[name]
        poses, matrices, couplings = 4 * 128 * 1152 * 8, 4 * 1152 * 10 * 16 * 8, 4 * 128 * 1152 * 10
        assert forward < 5 * megabyte
        assert both < 6 * megabyte + poses + matrices  # the gradients of u and W themselves
        # the distances and gradients of two operations; matrices, and their gradients, have an order of their own
        assert fitted < 6 * megabyte + 3 * (poses + couplings) + 5 * matrices
        assert large < 53 * megabyte  # of 1.6 GB: 128 samples, 1024 parts, 196 wholes of 16; the logits alone: 103 MB


INTERPRET = """
    import torch
    from capsnet_dist.kernels import backends
    from capsnet_dist.kernels.routing import function as dynamic, triton as routing_triton
    from capsnet_dist.kernels.gaussian import function as gaussian
    from capsnet_dist.kernels.squash import function as squash
    from capsnet_dist.kernels.votes import function as votes
    from capsnet_dist.kernels.routing.function import Rules
    from capsnet_dist.kernels.launch_triton import sizes
    def outcome(triton, function, inputs):
        backends.fits_triton = lambda tensor: triton
        backends.installed = lambda package: False
        given = [x.detach().requires_grad_() for x in inputs]
        output = function(*given)
        weight = torch.cos(torch.arange(output.numel())).reshape(output.shape)
        return [output, *torch.autograd.grad((output.float() * weight).sum(), given)]
    def check(function, inputs, tolerance=None):
        tolerance = tolerance or (1e-5 if inputs[0].dtype is torch.float32 else 1e-2)
        fast, slow = (outcome(triton, function, inputs) for triton in (True, False))
        for x, y in zip(fast, slow):
            scale = max(1.0, y.abs().max().item())
            assert x.dtype == y.dtype
            torch.testing.assert_close(x.float(), y.float(), rtol=tolerance, atol=tolerance * scale)
        return fast[0]
    torch.manual_seed(0)
    one, small, large = (1, 1, 1, 1, 1), (5, 3, 2, 4, 3), (34, 9, 8, 3, 2)  # large: several programs on each axis
    cases = [(small, dtype) for dtype in (torch.float32, torch.bfloat16, torch.float16)]
    for (b, i, p, j, d), dtype in [(one, torch.float32), *cases, (large, torch.float32)]:
        shapes = [(b, i, p), (i, j, d, p), (i, j), (j, d), (b, i, j), (b, j, d)]
        u, W, prior, bias, c, v = (torch.randn(shape).to(dtype) for shape in shapes)
        check(votes.combine, [u, W, c])
        check(votes.agreement, [u, W, v])
        for r in (1, 2) if b == 5 else ():
            poses, m, q = (torch.randn(shape).to(dtype) for shape in [(b, i, r * p), (b, j, r * d), (b, j, r * d)])
            if r > 1:
                check(votes.combine, [poses, W, c])
            check(gaussian.distances, [poses, W, m, q])
            check(gaussian.spread, [poses, W, c, m])
        exact = check(lambda *x: dynamic.route(*x, None, None, Rules(3)), [u, W])
        if dtype is torch.float32:
            check(lambda *x: dynamic.route(*x, Rules(2, True)), [u, W, prior, bias])
            check(lambda *x: dynamic.route(*x, Rules(2, False, False)), [u, W, prior, bias])
    routing_triton.ROOM = 7 * 34 // 3 * 9 * 3  # for a third of the samples in backward
    assert len(routing_triton.samples(u, W, 7)) == 4
    check(lambda *x: dynamic.route(*x, Rules(3)), [u, W, prior, bias])
    torch.backends.cuda.matmul.allow_tf32 = True
    loose = check(lambda *x: dynamic.route(*x, None, None, Rules(3)), [u, W], 5e-3)
    assert not torch.allclose(loose, exact, 1e-5, 1e-5)
    u, W, c = torch.randn(18, 2, 3), torch.randn(2, 1, 5, 3), torch.randn(18, 2, 1)
    m, q = torch.randn(18, 1, 5), torch.randn(18, 1, 5)
    check(gaussian.distances, [u, W, m, q])
    check(gaussian.spread, [u, W, c, m])
    assert sizes(u, W).blocks == 2  # more than one program along the batch
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.bfloat16):
            maps = torch.randn(2, 15, 6, 9).to(dtype).contiguous(memory_format=layout)
            maps[0, :5] = 0
            check(lambda x: torch.cat([part.flatten() for part in squash.squash_maps(x, 5)]), [maps])
            check(lambda x: squash.squash_maps(x, 5).activations, [maps])
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_triton_interpreted_gives_what_torch_gives():
    """Values and gradients of every kernel, and the same bits twice; in a process that has Triton's interpreter."""
    program = [sys.executable, "-c", textwrap.dedent(INTERPRET)]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("sizes", [(3, 7, 5, 10, 6), (128, 64, 8, 10, 16)])
def test_triton_on_a_gpu_gives_what_torch_gives(sizes):
    inputs = [x.detach().cuda().requires_grad_() for x in example(sizes, torch.float32, 0.5)]
    fused, expected = (f(*inputs, Rules(3)) for f in (dynamic.route, composed))
    same([fused, *gradients(fused, inputs)], [expected, *gradients(expected, inputs)], 1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("rows", [1, 4])
def test_triton_on_a_gpu_gives_what_torch_gives_in_all_operations(rows):
    inputs = operands((40, 30, 4, 10, 6), rows, torch.float32)
    on_gpu = [x.detach().cuda().requires_grad_() for x in inputs]
    for (function, given_), (_, cuda) in zip(operations(*inputs), operations(*on_gpu), strict=True):
        expected, found = function(*given_), function(*cuda)
        results = [found, *gradients(found, cuda)], [expected, *gradients(expected, given_)]
        same(*([x.cpu() for x in result] for result in results), 1e-5)


def test_importing_the_package_loads_neither_numba_nor_triton():
    program = (
        "import sys, capsnet_dist, capsnet_dist.kernels.routing.function; print({'numba', 'triton'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"


def test_a_package_that_cannot_be_imported_is_said_and_done_without(monkeypatch):
    Path("broken.py").write_text("raise ImportError('needs another NumPy')", encoding="utf-8")
    monkeypatch.syspath_prepend(".")
    backends.installed.cache_clear()
    with pytest.warns(UserWarning, match="broken is installed but cannot be used.*needs another NumPy"):
        assert not backends.installed("broken")
    assert not backends.installed("absent_from_this_machine")
