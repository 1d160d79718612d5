"""Dynamic routing without votes in memory: from forward to backward it keeps b x j x d numbers an iteration.

Logits grow by agreement, so those of iteration t are b_ij = u_hat_ij . V_j + prior_ij with V the sum of the poses v of
the iterations before, over the temperature: one pass over the parts goes from V to the totals s, which take the scale.
Backward starts at the last iteration and goes in each from gs to gV, which is what all v of the iterations before
receive. When gs and V of all iterations are known, one more pass gives gu and gW.
"""

from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.capsules import at_least_float32, squash
from capsnet_dist.kernels import backends
from capsnet_dist.kernels.blocks import even_total
from capsnet_dist.kernels.routing.plain import couple
from capsnet_dist.kernels.squash.function import squash_gradient, squashed


class Rules(NamedTuple):
    """How to route."""

    iterations: int
    """How many, at least 1."""
    leaky: bool = False
    """Whether a part may also choose none of the wholes."""
    through: bool = True
    """Whether gradients go through all iterations, or through the last one alone."""
    temperature: float = 1.0
    """What agreement is divided by, before it is added to the logits."""
    scale: float = 1.0
    """What the couplings are multiplied by."""


def route(
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    bias: Float[Tensor, "j d"] | None,
    rules: Rules,
) -> Float[Tensor, "b j d"]:
    """The poses of the wholes.

    Args:
        poses: Poses u_i of the parts.
        weight: Transformations W_ij.
        prior: Logits of the first iteration, over the temperature; zeros where None.
        bias: Added to the totals of every iteration; zeros where None.
        rules: How to route.
    """
    return Dynamic.apply(poses, weight, prior, bias, rules)[0]


class Dynamic(torch.autograd.Function):
    """Routing by agreement (Sabour et al., 2017, procedure 1)."""

    @staticmethod
    def forward(
        poses: Tensor, weight: Tensor, prior: Tensor | None, bias: Tensor | None, rules: Rules
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The wholes, and for backward V and s of every iteration."""
        passes = backends.routing(poses, weight, prior, rules.leaky)
        v = summed = at_least_float32(poses.new_zeros(len(poses), *weight.shape[1:3]))
        gathered: list[Tensor] = []
        totals: list[Tensor] = []
        for number in range(rules.iterations):
            if number == 0 and prior is None:
                s = even_total(poses, weight) * (_share(weight, rules) * rules.scale)
            else:
                s = passes.total(summed) * rules.scale
            s = s if bias is None else s + bias
            v = squashed(s)
            gathered.append(summed)
            totals.append(s)
            summed = summed + v / rules.temperature
        return v.to(poses.dtype), torch.stack(gathered), torch.stack(totals)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Keep the inputs, and V and s of every iteration."""
        poses, weight, prior, bias, ctx.rules = inputs
        _, gathered, totals = output
        ctx.mark_non_differentiable(gathered, totals)
        ctx.save_for_backward(poses, weight, prior, bias, gathered, totals)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the inputs."""
        *inputs, gathered, totals = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiably(gradients[0], inputs, ctx.rules), None
        return *_gradients(gradients[0], inputs, gathered, totals, ctx.rules), None


def _gradients(
    gradient: Float[Tensor, "b j d"],
    inputs: list[Tensor | None],
    gathered: Float[Tensor, "t b j d"],
    totals: Float[Tensor, "t b j d"],
    rules: Rules,
) -> tuple[Tensor | None, ...]:
    """Those of poses, weight, prior and bias."""
    poses, weight, prior, bias = inputs
    assert poses is not None and weight is not None
    first = 0 if prior is not None else 1  # of the iterations whose couplings depend on something
    first = first if rules.through else max(first, rules.iterations - 1)
    parts = [
        _of_samples(gradient[some], poses[some], weight, prior, gathered[:, some], totals[:, some], first, rules)
        for some in backends.samples(poses, weight, rules.iterations - first)
    ]
    gu, gW, gprior, gbias = parts[0] if len(parts) == 1 else _joined(parts)
    return gu, gW, None if prior is None else gprior, None if bias is None else gbias


def _joined(parts: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Gradients of poses one after the other, and the sum of the others."""
    poses, *others = zip(*parts, strict=True)
    return torch.cat(poses), *(torch.stack(each).sum(dim=0) for each in others)


def _of_samples(
    gradient: Float[Tensor, "b j d"],
    poses: Float[Tensor, "b i p"],
    weight: Float[Tensor, "i j d p"],
    prior: Float[Tensor, "i j"] | None,
    gathered: Float[Tensor, "t b j d"],
    totals: Float[Tensor, "t b j d"],
    first: int,
    rules: Rules,
) -> tuple[Tensor, ...]:
    """Those of poses, weight, prior and bias, from some of the samples."""
    passes = backends.routing(poses, weight, prior, rules.leaky)
    passes.start_backward(gathered[first:])
    gs = torch.zeros_like(totals)
    gv, received = at_least_float32(gradient), torch.zeros_like(totals[0])
    for number in reversed(range(rules.iterations)):
        gs[number] = squash_gradient(totals[number], gv) * rules.scale
        if number == 0 or not rules.through:
            break
        received = received + passes.gathered_gradient(number - first, gs[number]) / rules.temperature
        gv = received
    common = gs[0] * _share(weight, rules) if prior is None else torch.zeros_like(received)
    return *passes.input_gradients(gs[first:], common, rules.through), gs.sum(dim=(0, 1)) / rules.scale


def _differentiably(gradient: Tensor, inputs: list[Tensor | None], rules: Rules) -> tuple[Tensor | None, ...]:
    """The same with the votes in memory, for gradients of gradients."""
    poses, weight, prior, bias = inputs
    assert poses is not None and weight is not None
    given = [x for x in inputs if x is not None and x.requires_grad]
    votes = einsum(poses, weight, "b i p, i j d p -> j i b d")
    evidence = votes.new_zeros(votes.shape[:3])
    v = torch.zeros_like(gradient)
    for number in range(rules.iterations):
        if number:
            agreement = einsum(votes, v, "j i b d, b j d -> j i b")
            evidence = evidence + (agreement if rules.through else agreement.detach()) / rules.temperature
        coupling = couple(evidence[:, :, None], prior, rules.leaky)[:, :, 0] * rules.scale
        s = einsum(coupling, votes, "j i b, j i b d -> b j d")
        v = squash(s if bias is None else s + bias)
    found = iter(torch.autograd.grad(v, given, gradient, create_graph=True))
    return tuple(next(found) if x is not None and x.requires_grad else None for x in inputs)


def _share(weight: Float[Tensor, "i j d p"], rules: Rules) -> float:
    """The coupling of each part to each whole in a first iteration without priors."""
    return 1 / (weight.shape[1] + rules.leaky)
