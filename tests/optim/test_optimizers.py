"""Optimizers: what is computed on the device is what PyTorch computes step by step."""

import pytest
import torch

from capsnet_dist import optimizers
from capsnet_dist.kernels import fast_paths


def followed(name, *, fast, dtype, **options):
    """Weights after each of some steps down a slope that turns."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5, dtype=torch.float64, generator=generator).to(dtype))
    with fast_paths(fast):
        optimizer = optimizers(name, **options).build([weight], 0.1)
    seen = []
    for step in range(30):
        weight.grad = (torch.randn(5, dtype=torch.float64, generator=generator) + 0.1 * step).to(dtype)
        optimizer.param_groups[0]["lr"] = 0.1 / (1 + step)
        optimizer.step()
        seen.append(weight.detach().clone())
    return torch.stack(seen)


@pytest.mark.parametrize("name", list(optimizers))
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_every_optimizer_follows_the_same_path_with_and_without_fast_paths(name, dtype, tolerance):
    options = {"weight_decay": 0.1}
    fast, exact = (followed(name, fast=fast, dtype=dtype, **options) for fast in (True, False))
    torch.testing.assert_close(fast, exact, rtol=tolerance, atol=tolerance)
