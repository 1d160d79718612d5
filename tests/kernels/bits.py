"""What tests of kernels share."""

import torch


def with_any_threads(compute, *numbers):
    """What one thread computes, several tensors, once as many as each number says have computed the same bits."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compute()
        for number in numbers:
            torch.set_num_threads(number)
            assert all(torch.equal(x, y) for x, y in zip(compute(), alone, strict=True)), f"{number} threads"
    finally:
        torch.set_num_threads(before)
    return alone
