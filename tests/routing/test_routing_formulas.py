"""Each routing against a slow transcription of its paper: values and gradients, in float64, by loops over i and j.

A sample is a list of windows (one, unless capsules are convolutional); a window is the votes V[i][j], the activations
a[i], and which part of the map each i is: the same part in several windows is competed for by the wholes of all.
"""

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import digamma, exp, log, sigmoid, sqrt

from capsnet_dist import Capsules, Grid, Votes, routings
from capsnet_dist.geometry import Windows


class Window(NamedTuple):
    V: list
    a: list
    part: list
    u: list


def squash(s, half=1.0):
    if s @ s == 0:
        return s * 0
    return (s @ s) / (half + s @ s) * s / sqrt(s @ s)


def softmax(logits):
    return [exp(b) / sum(exp(other) for other in logits) for b in logits]


def total(window, c, j):
    return sum(c[i][j] * window.V[i][j] for i in range(len(window.V)))


def shape(window):
    return range(len(window.V)), range(len(window.V[0]))


def length(v):
    return sqrt(v @ v) if v @ v > 0 else v @ v


def dynamic(samples, routing):
    """Sabour et al. (2017), procedure 1; leaky softmax, biases and gradients as in section 2 and the authors' code."""
    for [window] in samples:
        parts, wholes = shape(window)
        prior = torch.zeros(len(parts), len(wholes)) if routing.priors is None else routing.priors
        bias = 0 * window.V[0][0][None] if routing.bias is None else routing.bias
        b = [[prior[i, j] for j in wholes] for i in parts]
        for iteration in range(routing.iterations):
            leak = [torch.zeros(())] * routing.leaky
            c = [[routing.scale * x for x in softmax([x / routing.temperature for x in b[i] + leak])] for i in parts]
            v = [squash(total(window, c, j) + bias[j if len(bias) > 1 else 0]) for j in wholes]
            if iteration < routing.iterations - 1:
                a = [[window.V[i][j] @ v[j] for j in wholes] for i in parts]
                b = [
                    [b[i][j] + (a[i][j].detach() if routing.gradient == "last" else a[i][j]) for j in wholes]
                    for i in parts
                ]
        yield v, [length(v[j]) for j in wholes]


def uniform(samples, routing):
    for [window] in samples:
        parts, wholes = shape(window)
        v = [squash(sum(window.V[i][j] for i in parts) / len(wholes)) for j in wholes]
        yield v, [length(v[j]) for j in wholes]


def kmeans(samples, routing):
    """Su (2018): couplings from the unit vectors of the round before; squash with one half."""
    for [window] in samples:
        parts, wholes = shape(window)
        b = [[torch.zeros(()) for _ in wholes] for _ in parts]
        for _ in range(routing.iterations):
            c = [softmax(b[i]) for i in parts]
            o = [total(window, c, j) for j in wholes]
            b = [[window.V[i][j] @ o[j] / length(o[j]) for j in wholes] for i in parts]
        v = [squash(o[j], half=0.5) for j in wholes]
        yield v, [length(v[j]) for j in wholes]


def max_min(samples, routing):
    """Zhao et al. (2019): c = 1, then (b - min b) / (max b - min b)."""
    for [window] in samples:
        parts, wholes = shape(window)
        b = [[torch.zeros(()) for _ in wholes] for _ in parts]
        for _ in range(routing.iterations):
            c = [[(x - min(row)) / (max(row) - min(row)) if max(row) > min(row) else 1 for x in row] for row in b]
            v = [squash(total(window, c, j)) for j in wholes]
            b = [[b[i][j] + window.V[i][j] @ v[j] for j in wholes] for i in parts]
        yield v, [length(v[j]) for j in wholes]


def attention(samples, routing):
    """Tsai et al. (2020), procedure 1, with the scale of the authors' code."""

    def layer_norm(x):
        mean = sum(x) / len(x)
        variance = sum((number - mean) ** 2 for number in x) / len(x)
        return (x - mean) / sqrt(variance + 1e-5) * routing.norm.weight + routing.norm.bias if len(x) > 1 else x

    for [window] in samples:
        parts, wholes = shape(window)
        d = len(window.V[0][0])
        r = [[1 / len(wholes) for _ in wholes] for _ in parts]
        for _ in range(routing.iterations):
            p = [layer_norm(total(window, r, j)) for j in wholes]
            r = [softmax([p[j] @ window.V[i][j] / math.sqrt(d) for j in wholes]) for i in parts]
        yield p, [torch.ones((), dtype=torch.float64) for _ in wholes]


def self_attention(samples, routing):
    """Mazzia et al. (2021), equations 2 and 4 to 6: all products of two votes."""
    for [window] in samples:
        parts, wholes = shape(window)
        V, d = window.V, len(window.V[0][0])
        A = [[[V[i][j] @ V[k][j] / math.sqrt(d) for k in parts] for i in parts] for j in wholes]
        C = [softmax([sum(A[j][i]) for j in wholes]) for i in parts]
        s = [sum((C[i][j] + routing.bias[i, j]) * V[i][j] for i in parts) for j in wholes]
        v = [(1 - 1 / exp(length(s[j]))) * s[j] / length(s[j]) for j in wholes]
        yield v, [length(v[j]) for j in wholes]


def self_routing(samples, routing):
    """Hahn et al. (2019), equations 1 to 3."""
    for [window] in samples:
        parts, wholes = shape(window)
        a = window.a
        c = [softmax([routing.weight[i, j] @ window.u[i] + routing.bias[i, j] for j in wholes]) for i in parts]
        weight = [sum(c[i][j] * a[i] for i in parts) for j in wholes]
        poses = [sum(c[i][j] * a[i] * window.V[i][j] for i in parts) / weight[j] for j in wholes]
        yield poses, [weight[j] / sum(a) for j in wholes]


def heinsen(samples, routing):
    """Heinsen (2019), algorithm 1, where a[i] is the logistic function of the paper's input score."""
    for [window] in samples:
        parts, wholes = shape(window)
        V = [[window.V[i][j] + routing.bias[i, j] for j in wholes] for i in parts]
        R = [[1 / len(wholes) for _ in wholes] for _ in parts]
        score, mu, s2 = [], [], []
        for iteration in range(routing.iterations):
            if iteration > 0:
                for i in parts:
                    p = [exp(-sum((V[i][j] - mu[j]) ** 2 / (2 * s2[j]))) / torch.prod(sqrt(s2[j])) for j in wholes]
                    evidence = [sigmoid(score[j]) * p[j] for j in wholes]
                    R[i] = [evidence[j] / sum(evidence) for j in wholes]
            use = [[window.a[i] * R[i][j] for j in wholes] for i in parts]
            ignore = [[window.a[i] - use[i][j] for j in wholes] for i in parts]
            score, mu, s2 = [], [], []
            for j in wholes:
                gain = sum(routing.beta_use[i, j] * use[i][j] for i in parts)
                score.append(gain - sum(routing.beta_ignore[i, j] * ignore[i][j] for i in parts))
                mass = sum(use[i][j] for i in parts) + 1e-5
                mu.append(sum(use[i][j] * V[i][j] for i in parts) / mass)
                s2.append(sum(use[i][j] * (V[i][j] - mu[j]) ** 2 for i in parts) / mass + 1e-5)
        yield mu, [sigmoid(x) for x in score]


def even_shares(sample):
    """1 / number of wholes, anywhere, that see the part."""
    seen = [part for window in sample for part in window.part]
    return [[[1 / (seen.count(k) * len(w.V[0])) for _ in w.V[0]] for k in w.part] for w in sample]


def compete(sample, evidence):
    """evidence[o][i][j] divided by its sum over all wholes, anywhere, that see the part."""
    everything = {}
    for o, window in enumerate(sample):
        for i, part in enumerate(window.part):
            everything[part] = everything.get(part, 0) + sum(evidence[o][i])
    return [
        [[x / everything[w.part[i]] for x in row] for i, row in enumerate(e)]
        for w, e in zip(sample, evidence, strict=True)
    ]


def em(samples, routing):
    """Hinton et al. (2018), procedure 1: the paper's cost, in units and with stabilisers of the authors' code."""
    for sample in samples:
        R = even_shares(sample)
        old = [[0 for _ in window.V[0]] for window in sample]
        for t in range(1, routing.iterations + 1):
            inverse_temperature = 2 * 0.01 * (1 - 0.95**t)
            mu, a, evidence = [], [], []
            for o, window in enumerate(sample):
                parts, wholes = shape(window)
                mu.append([])
                a.append([])
                evidence.append([[None for _ in wholes] for _ in parts])
                for j in wholes:
                    r = [R[o][i][j] * window.a[i] for i in parts]
                    mass = sum(r) + 1e-7
                    mu[o].append(0.9 * sum(r[i] * window.V[i][j] for i in parts) / mass + 0.1 * old[o][j])
                    s2 = sum(r[i] * (window.V[i][j] - mu[o][j]) ** 2 for i in parts) / mass + 5e-4
                    beta_u = routing.beta_u[j] * (math.log(2 * math.pi) + 1) / 2
                    beta_a = -2500 * routing.beta_a[j]
                    cost = [(beta_u + log(sqrt(variance))) * mass for variance in s2]
                    a[o].append(sigmoid(inverse_temperature * (beta_a - sum(cost))))
                    for i in parts:
                        p = exp(-sum((window.V[i][j] - mu[o][j]) ** 2 / (2 * s2))) / sqrt(torch.prod(2 * math.pi * s2))
                        evidence[o][i][j] = a[o][j] * p
            R, old = compete(sample, evidence), mu
        for o in range(len(sample)):
            yield mu[o], a[o]


def variational_bayes(samples, routing):
    """Ribeiro et al. (2020), algorithm 1, and the batch normalisations of the authors' code."""
    poses, logits = [], []
    for sample in samples:
        R = even_shares(sample)
        for _ in range(routing.iterations):
            means, entropies, evidence = [], [], []
            for o, window in enumerate(sample):
                parts, wholes = shape(window)
                D = len(window.V[0][0])
                r = [[R[o][i][j] * window.a[i] for j in wholes] for i in parts]
                R_j = [sum(r[i][j] for i in parts) for j in wholes]
                means.append([])
                entropies.append([])
                evidence.append([[None for _ in wholes] for _ in parts])
                for j in wholes:
                    alpha, kappa, nu = 1 + R_j[j], 1 + R_j[j], D + 1 + R_j[j]
                    mu = sum(r[i][j] * window.V[i][j] for i in parts) / R_j[j]
                    m = (R_j[j] * mu + 1 * 0) / kappa
                    scatter = sum(r[i][j] * (window.V[i][j] - mu) ** 2 for i in parts)
                    Psi = 1 / (1 + scatter + 1 * R_j[j] / kappa * (mu - 0) ** 2)
                    log_pi = digamma(alpha) - digamma(sum(1 + x for x in R_j))
                    log_Lambda = (
                        sum(digamma((nu + 1 - d) / 2) for d in range(1, D + 1)) + D * math.log(2) + log(Psi).sum()
                    )
                    means[o].append(m)
                    H = 0.5 * D * math.log(2 * math.pi * math.e) - 0.5 * log_Lambda
                    entropies[o].append(exp(log_pi) * H)
                    for i in parts:
                        E_Q = D / kappa + nu * sum(Psi * (window.V[i][j] - m) ** 2)
                        evidence[o][i][j] = exp(log_pi + 0.5 * log_Lambda - 0.5 * D * math.log(2 * math.pi) - 0.5 * E_Q)
            R = compete(sample, evidence)
        poses += means
        logits += [[-x for x in window] for window in entropies]
    for window in range(len(poses)):
        wholes = range(len(poses[0]))
        pose = [normalise(poses[window][j], torch.cat([other[j] for other in poses])) for j in wholes]
        a = [sigmoid(normalise(logits[window][j], torch.stack([other[j] for other in logits]))) for j in wholes]
        yield pose, a


def normalise(x, population):
    mean = sum(population) / len(population)
    return (x - mean) / sqrt(sum((y - mean) ** 2 for y in population) / len(population) + 1e-5)


REFERENCES = {
    function.__name__: function
    for function in (
        dynamic,
        uniform,
        kmeans,
        max_min,
        attention,
        self_attention,
        self_routing,
        heinsen,
        em,
        variational_bayes,
    )
}


def slow(name, routing, poses, weight, activations, index):
    """Wholes by loops; index[o, i] is the part at place i of window o."""
    samples = []
    for pose, a in zip(poses, activations, strict=True):
        sample = []
        for places in index.tolist():
            u = [pose[place] for place in places]
            V = [[matrix @ u[i] for matrix in weight[i]] for i in range(len(places))]
            sample.append(Window(V, [a[place] for place in places], places, u))
        samples.append(sample)
    found = [(torch.stack(list(v)), torch.stack(list(a))) for v, a in REFERENCES[name](samples, routing)]
    return Capsules(torch.stack([v for v, _ in found]), torch.stack([a for _, a in found]))


def draw(seed, *shape, low=None):
    generator = torch.Generator().manual_seed(seed)
    if low is not None:
        return low + (1 - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)
    return 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def stirred(routing, seed):
    """Every parameter moved from where it starts, or many a term would be zero."""
    routing.double()
    for number, parameter in enumerate(routing.parameters()):
        parameter.data += 0.3 * draw(seed + number, *parameter.shape)
    return routing


def assert_the_same(routing, fast, slow, leaves, seed):
    torch.testing.assert_close(tuple(fast), tuple(slow), rtol=1e-5, atol=1e-6)
    leaves = [*leaves, *routing.parameters()]
    gradients = []
    for result in (fast, slow):
        weighed = [(tensor * draw(seed, *tensor.shape)).sum() for tensor in result]
        gradients.append(torch.autograd.grad(sum(weighed), leaves, allow_unused=True, materialize_grads=True))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


OPTIONS = [(name, {}) for name in REFERENCES] + [
    ("dynamic", {"gradient": "last"}),
    ("dynamic", {"leaky": True, "priors": True, "bias": True}),
    ("dynamic", {"gradient": "last", "priors": True}),
    ("dynamic", {"temperature": 0.125, "scale": 3.0, "priors": True, "bias": True}),
]


def test_every_routing_has_a_formula():
    assert set(REFERENCES) == {name for name in routings if routings.owner(name).startswith("capsnet_dist ")}


@pytest.mark.parametrize(("name", "options"), OPTIONS, ids=str)
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(2, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3)),
    st.integers(1, 3),
    st.integers(0, 2**16),
)
def test_a_routing_is_the_formula_of_its_paper(name, options, sizes, iterations, seed):
    batch, parts, wholes, dim, part_dim = sizes
    if "iterations" in routings.options(name):
        options = options | {"iterations": iterations}
    routing = stirred(routings(name, **options).build(parts, part_dim, wholes, dim), seed)
    poses, weight = draw(seed, batch, parts, part_dim), draw(seed + 1, parts, wholes, dim, part_dim)
    activations = draw(seed + 2, batch, parts, low=0.1)
    leaves = [tensor.requires_grad_() for tensor in (poses, weight, activations)]
    fast = routing(Votes(poses, weight), activations)
    expected = slow(name, routing, *leaves, torch.arange(parts)[None])
    assert_the_same(routing, fast, expected, leaves, seed)


@pytest.mark.parametrize("name", ["em", "variational_bayes"])
@pytest.mark.parametrize(("kernel", "stride"), [(2, 1), (2, 2)])
def test_wholes_at_all_positions_compete_for_a_part(name, kernel, stride):
    grid = Grid(types=2, height=3, width=3, dim=2)
    windows = Windows(grid, kernel, stride, 0)
    parts = grid.types * kernel**2
    routing = stirred(routings(name).build(parts, grid.dim, 2, 3), 0)
    poses, weight = draw(0, 2, grid.num_capsules, grid.dim), draw(1, parts, 2, 3, grid.dim)
    activations = draw(2, 2, grid.num_capsules, low=0.1)
    leaves = [tensor.requires_grad_() for tensor in (poses, weight, activations)]
    cut = windows.cut(Capsules(poses, activations))
    fast = routing(Votes(cut.poses, weight, competition=windows.compete), cut.activations)
    expected = slow(name, routing, *leaves, windows.index)
    assert_the_same(routing, fast, expected, leaves, 3)
