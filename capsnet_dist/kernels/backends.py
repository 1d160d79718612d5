"""Which code computes: Triton on CUDA, LLVM and numba on the CPU where they are installed, plain torch elsewhere."""

import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from capsnet_dist.kernels.gaussian import plain as plain_gaussian
from capsnet_dist.kernels.gaussian.plain import Gradients
from capsnet_dist.kernels.routing import plain as plain_routing
from capsnet_dist.kernels.routing.recompute import Recompute
from capsnet_dist.kernels.votes import plain as plain_votes
from capsnet_dist.kernels.votes.folded import Folded, VotesBackend

WIDEST = 2**13  # numbers in all votes of a part, up to which they fit a streaming multiprocessor's registers
LONGEST = 2**8  # numbers of a pose, likewise

FEWEST_LANES = 8  # samples, from which on 16 in the lanes of a vector are faster though some of them are not there


@runtime_checkable
class Passes(Protocol):
    """The passes of dynamic routing over some samples; `plain_routing` says what each is."""

    def total(self, gathered: Tensor) -> Tensor:
        """The totals of an iteration, from V."""
        ...

    def start_backward(self, gathered: Tensor) -> None:
        """Begin with the gradients of some iterations, given V of each."""
        ...

    def gathered_gradient(self, number: int, gradient: Tensor) -> Tensor:
        """From gs to gV, of one of these iterations."""
        ...

    def input_gradients(self, gradient: Tensor, common: Tensor, through: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Those of poses, weight and prior, from gs of these iterations."""
        ...


@runtime_checkable
class GaussianBackend(Protocol):
    """The derivatives of f = sum_bijd c_ij q_jd (u_hat_ijd - m_jd)^2, with rows of a pose that share a matrix."""

    def distances(self, poses: Tensor, weight: Tensor, means: Tensor, precisions: Tensor) -> Tensor:
        """By c."""
        ...

    def spread(self, poses: Tensor, weight: Tensor, coupling: Tensor, means: Tensor) -> Tensor:
        """By q."""
        ...

    def gradients(
        self, poses: Tensor, weight: Tensor, coupling: Tensor, means: Tensor, precisions: Tensor
    ) -> Gradients:
        """By everything."""
        ...


def votes(poses: Tensor, weight: Tensor) -> VotesBackend:
    """What combines and compares votes of these parts, whose poses have rows that share a matrix."""
    if _fits_triton(poses, weight):
        from capsnet_dist.kernels.votes import triton

        return Folded(triton)
    if in_lanes(poses, weight):
        from capsnet_dist.kernels.votes import llvm_lanes

        return Folded(llvm_lanes)
    if _fits_numba(poses, weight):
        from capsnet_dist.kernels.votes import numba

        return numba
    return Folded(plain_votes)


def routing(poses: Tensor, weight: Tensor, prior: Tensor | None, leaky: bool) -> Passes:
    """What routes these parts."""
    if _fits_triton(poses, weight):
        from capsnet_dist.kernels.routing import triton

        return triton.StoredCouplings(poses, weight, prior, leaky)
    if in_lanes(poses, weight):
        from capsnet_dist.kernels.routing import llvm_lanes

        return Recompute(llvm_lanes, poses, weight, prior, leaky)
    if _fits_numba(poses, weight):
        from capsnet_dist.kernels.routing import numba

        return Recompute(numba, poses, weight, prior, leaky)
    return Recompute(plain_routing, poses, weight, prior, leaky)


def samples(poses: Tensor, weight: Tensor, iterations: int) -> list[slice]:
    """All samples, as many at a time as gradients of so many iterations have room for."""
    if _fits_triton(poses, weight):
        from capsnet_dist.kernels.routing import triton

        return triton.samples(poses, weight, 1 + 2 * iterations)
    return [slice(None)]


def gaussian(poses: Tensor, weight: Tensor) -> GaussianBackend:
    """What compares the votes of these parts with the means of wholes."""
    if _fits_triton(poses, weight) and weight.shape[1] * weight.shape[2] <= WIDEST:
        from capsnet_dist.kernels.gaussian import triton

        return triton
    if in_lanes(poses, weight):
        from capsnet_dist.kernels.gaussian import llvm_lanes

        return llvm_lanes
    if _fits_numba(poses, weight):
        from capsnet_dist.kernels.gaussian import numba

        return numba
    return plain_gaussian


@cache
def installed(package: str) -> bool:
    """Whether a package is there and can be imported; one that is there and cannot is worth a warning."""
    if find_spec(package) is None:
        return False
    try:
        import_module(package)
    except ImportError as error:
        warnings.warn(f"{package} is installed but cannot be used, so routing does without: {error}", stacklevel=2)
        return False
    return True


@cache
def has_wide_registers() -> bool:
    """Whether LLVM is there, and this processor has 32 registers of 16 numbers: AVX-512."""
    if not installed("llvmlite"):
        return False
    from llvmlite.binding import get_host_cpu_features

    return bool(get_host_cpu_features().get("avx512f"))


def has_wide_lanes(tensor: Tensor) -> bool:
    """Whether loops that need such registers take such a tensor."""
    return tensor.device.type == "cpu" and tensor.dtype is torch.float32 and has_wide_registers()


def fits_lanes(tensor: Tensor) -> bool:
    """Whether loops with 16 numbers in a vector, which any processor has, take such a tensor."""
    plain = type(tensor) is Tensor and tensor.device.type == "cpu" and tensor.dtype is torch.float32
    return plain and installed("llvmlite")


def in_lanes(poses: Float[Tensor, "b i *rp"], weight: Float[Tensor, "i j d p"]) -> bool:
    """Whether 16 samples in the lanes of a vector are worth it: for poses of eight numbers, or not many less."""
    parts, _, _, numbers = weight.shape
    vectors = poses.numel() // max(1, parts * numbers)  # each row of a matrix takes a lane of its own
    worth = vectors >= FEWEST_LANES and 2 * (-numbers % 8) <= numbers
    return worth and poses.dtype is weight.dtype and fits_lanes(poses)


def _fits_numba(poses: Tensor, weight: Tensor) -> bool:
    plain = type(poses) is Tensor and poses.device.type == "cpu" and poses.dtype is weight.dtype
    return plain and poses.dtype in (torch.float32, torch.float64) and installed("numba")


def chosen(device: torch.device) -> dict[str, str]:
    """By what float32 is computed on a device: sizes may still leave a single layer to PyTorch."""
    if device.type == "cuda":
        return {"routing": "Triton" if installed("triton") else "PyTorch"}
    return {
        "routing": "LLVM" if installed("llvmlite") else "PyTorch",
        "convolution": "LLVM, for AVX-512" if has_wide_registers() else "PyTorch",
    }


def fits_triton(tensor: Tensor) -> bool:
    """Whether Triton's kernels take such a tensor."""
    return tensor.is_cuda and tensor.dtype is not torch.float64 and installed("triton")


def _fits_triton(poses: Tensor, weight: Tensor) -> bool:
    return fits_triton(poses) and max(weight.shape[2:]) <= LONGEST
