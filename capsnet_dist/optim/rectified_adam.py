"""RAdam (Liu et al., 2020), whose steps wait for nothing on the host."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from capsnet_dist.kernels import fast_paths_allowed
from capsnet_dist.plugins import optimizers
from capsnet_dist.ranges import Amount, Fraction


@optimizers.register("radam")
def radam(
    parameters: Iterable[nn.Parameter],
    lr: float,
    *,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    epsilon: Amount = 1e-8,
    weight_decay: Amount = 0.0,
) -> torch.optim.Optimizer:
    """Rectified Adam, which needs no warm-up (Liu et al., 2020, algorithm 2), with decoupled decay.

    Args:
        parameters: What to optimize.
        lr: Peak learning rate.
        beta1: Decay of the mean of the gradient.
        beta2: Decay of the mean of its square.
        epsilon: Added to the root of the latter.
        weight_decay: Share of a weight taken off at each step, times the learning rate.
    """
    options: dict[str, Any] = {"betas": (beta1, beta2), "eps": epsilon, "weight_decay": weight_decay}
    if fast_paths_allowed():
        return RectifiedAdam(parameters, lr, **options)
    return torch.optim.RAdam(parameters, lr, decoupled_weight_decay=True, foreach=False, **options)


class RectifiedAdam(torch.optim.Optimizer):
    """PyTorch's RAdam with the count of steps, and what follows from it, on the device.

    So a step can be captured as a CUDA graph, and one whose `found_inf` is 1 changes nothing, as fused optimizers do.

    Args:
        parameters: What to optimize.
        lr: Learning rate.
        betas: Decays of the means of the gradient and of its square.
        eps: Added to the root of the latter.
        weight_decay: Share of a weight taken off at each step, times the learning rate.
    """

    _step_supports_amp_scaling = True  # what PyTorch's scaler and ours ask for: the step heeds found_inf
    found_inf: Tensor | None = None

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float], eps: float, weight_decay: float
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    @override
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Follow the gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            all_taken = torch.ones((), dtype=torch.float32, device=weights[0].device)
            taken = all_taken if self.found_inf is None else 1 - self.found_inf
            exact, (beta1, beta2) = taken.double(), group["betas"]  # a share such as 1 - beta2 keeps its digits
            shares = exact * (1 - beta1), exact * (1 - beta2), exact * group["lr"]
            for weight in weights:
                self._follow(weight, group, taken, shares)

    def _follow(
        self, weight: Tensor, group: dict[str, Any], taken: Tensor, shares: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        """Change one weight.

        Args:
            weight: It has a gradient.
            group: Its options.
            taken: 1, or 0 where the step changes nothing.
            shares: What the new gradient counts in both means, and the learning rate, all times `taken`, in float64.
        """
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        of_mean, of_square, rate = (share.to(weight.dtype) for share in shares)
        assert weight.grad is not None
        grad = torch.where(taken > 0, weight.grad, 0)
        state["step"] += taken
        (beta1, beta2), step = group["betas"], state["step"].double().clamp(min=1)
        state["exp_avg"].lerp_(grad, of_mean)
        state["exp_avg_sq"].lerp_(grad.square(), of_square)
        mean = state["exp_avg"] / (1 - beta1**step).to(weight.dtype)
        root = (state["exp_avg_sq"].sqrt() + group["eps"]) / (1 - beta2**step).sqrt().to(weight.dtype)
        rectified, known = (value.to(weight.dtype) for value in _rectification(step, beta2))
        change = torch.where(known > 0, mean / root * rectified, mean) + group["weight_decay"] * weight
        weight.sub_(change * rate)


def _rectification(step: Tensor, beta2: float) -> tuple[Tensor, Tensor]:
    """What the adaptive step is multiplied by, and 1 where its variance is known: from the fifth step or so."""
    most = 2 / (1 - beta2) - 1
    length = most - 2 * step * beta2**step / (1 - beta2**step)  # of the approximated simple moving average
    known = length > 5
    kept = torch.where(known, length, 6.0)
    rectified = ((kept - 4) * (kept - 2) * most / ((most - 4) * (most - 2) * kept)).sqrt()
    return rectified, known.to(step.dtype)
