"""Optimizers: PyTorch's, in their fused form."""

from collections.abc import Iterable

import torch
from torch import nn

from capsnet_dist.kernels import fast_paths_allowed
from capsnet_dist.plugins import optimizers
from capsnet_dist.ranges import Amount, Fraction


@optimizers.register("adam")
def adam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Amount = 1e-8,
    weight_decay: Amount = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma and Ba, 2015), decay decoupled from the gradient (Loshchilov and Hutter, 2019).

    Args:
        parameters: What to optimize.
        lr: Peak learning rate.
        beta1: Decay of the mean of the gradient.
        beta2: Decay of the mean of its square.
        epsilon: Added to the root of the latter.
        weight_decay: Share of a weight taken off at each step, times the learning rate.
    """
    betas, how = (beta1, beta2), _implementation()
    return torch.optim.AdamW(parameters, lr, betas=betas, eps=epsilon, weight_decay=weight_decay, **how)


@optimizers.register("sgd")
def sgd(
    parameters: Iterable[nn.Parameter], lr: float, *, momentum: Fraction = 0.9, weight_decay: Amount = 0.0
) -> torch.optim.Optimizer:
    """Stochastic gradient descent with momentum.

    Args:
        parameters: What to optimize.
        lr: Peak learning rate.
        momentum: Share of the last change that is kept.
        weight_decay: Added to the gradient, times the weight.
    """
    return torch.optim.SGD(parameters, lr, momentum=momentum, weight_decay=weight_decay, **_implementation())


def _implementation() -> dict[str, bool]:
    """Which of PyTorch's: one kernel for all parameters, or their loop."""
    return {"fused": True} if fast_paths_allowed() else {"foreach": False}
