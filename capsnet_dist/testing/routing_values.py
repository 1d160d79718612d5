"""Laws for the numbers that a routing gives: shapes, precision, range, gradients."""

import copy

import torch
from torch import Tensor

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.layer import DenseCapsules
from capsnet_dist.plugins import Layer
from capsnet_dist.testing.common import gradients
from capsnet_dist.testing.law import Broken, Law, require, require_same
from capsnet_dist.testing.routing_subject import RoutingSubject, Sizes
from capsnet_dist.testing.subject import Inputs
from capsnet_dist.votes import Votes

SMALL = Sizes(3, 2, 2, 3)  # finite differences take two calls for each number
BOTTOM = 1e-20  # its square is zero in float32


def shapes_fit(subject: RoutingSubject) -> None:
    """Wholes come as batch x wholes x dim, with an activation each, also where a size is 1 and poses are matrices."""
    for batch, *numbers in [(3, *Sizes()), (1, *Sizes()), (2, 1, 3, 5, 4), (2, 7, 3, 1, 4), (2, 7, 1, 5, 1), (1,) * 5]:
        for training in {False, batch > 1}:  # normalisation over a batch needs two samples
            sizes = Sizes(*numbers)
            inputs = subject.inputs(batch, sizes=sizes)
            votes = Votes(inputs["poses"], inputs["weight"])
            _has_shape(subject.routing(sizes).train(training)(votes, inputs["activations"]), batch, sizes)
    sizes = Sizes(part_dim=6)  # two rows of 3 numbers, and two of 2: a vote takes a weight of d x p = 2 x 3
    weight, offset = torch.randn(7, 5, 2, 3).double(), torch.randn(7, 4).double()
    votes = Votes(torch.randn(2, 7, 6).double(), weight, offset)
    _has_shape(subject.routing(sizes)(votes, torch.rand(2, 7).double()), 2, sizes)


def _has_shape(wholes: object, batch: int, sizes: Sizes) -> None:
    if not isinstance(wholes, Capsules):
        raise Broken(f"it gives {type(wholes).__name__} and not Capsules")
    expected = {"poses": (batch, sizes.wholes, sizes.dim), "activations": (batch, sizes.wholes)}
    for name, tensor in wholes._asdict().items():
        seen = f"batch {batch}, {sizes}: {name} are {tuple(tensor.shape)} instead of {expected[name]}"
        require(tuple(tensor.shape) == expected[name], seen)


def dtype_follows_the_input(subject: RoutingSubject) -> None:
    """float64 in, float64 out, and float32 the same: else slow exact arithmetic cannot check the fast one."""
    for dtype in (torch.float64, torch.float32):
        for wholes in subject.probe(dtype=dtype)(*subject.inputs(dtype=dtype).values()):
            require(wholes.dtype is dtype, f"{dtype} in, {wholes.dtype} out")


def device_follows_the_input(subject: RoutingSubject) -> None:
    """Nothing is made on a device of its own choice, else it runs on no other: tried on PyTorch's "meta" device."""
    inputs = {key: x.to("meta") for key, x in subject.inputs().items()}
    for wholes in subject.probe().to("meta")(*inputs.values()):
        require(wholes.device.type == "meta", f"the input is on the device 'meta', the output on {wholes.device}")


def extremes(subject: RoutingSubject) -> dict[str, Inputs]:
    """Inputs at the ends of float32, as they come up in training."""
    usual = subject.inputs(dtype=torch.float32)
    poses, ones = usual["poses"], torch.ones_like(usual["activations"])
    alike = {"poses": torch.ones_like(poses), "weight": torch.ones_like(usual["weight"])}
    return {
        "poses of zero": usual | {"poses": 0 * poses},
        f"poses of {BOTTOM:g}": usual | {"poses": BOTTOM * poses},
        "poses of 1e4": usual | {"poses": 1e4 * poses, "activations": ones},
        "absent parts, as at the border of a map": usual | {"poses": 0 * poses, "activations": 0 * ones},
        "votes that are all the same": usual | alike,
    }


def values_stay_finite(subject: RoutingSubject) -> None:
    """No infinity and no NaN at zero, at 1e-20, at 1e4, or where all agree: one of them ends a training."""
    probe = subject.probe(dtype=torch.float32)
    for name, inputs in extremes(subject).items():
        for part, wholes in zip(("poses", "activations"), probe(*inputs.values()), strict=True):
            _is_finite(wholes, f"{name}: {part}")


def gradients_stay_finite(subject: RoutingSubject) -> None:
    """Gradients are finite where values are: one NaN in a gradient spoils every parameter."""
    probe = subject.probe(dtype=torch.float32)
    for name, inputs in extremes(subject).items():
        probe.zero_grad()
        for found in gradients(probe, inputs):
            for part, gradient in found.items():
                if gradient is not None:
                    _is_finite(gradient, f"{name}: the gradient of {part}")


def _is_finite(tensor: Tensor, what: str) -> None:
    wrong = int((~tensor.isfinite()).sum())
    require(wrong == 0, f"{what}: {wrong} of {tensor.numel()} numbers are infinite or NaN")


def activations_are_in_range(subject: RoutingSubject) -> None:
    """Activations are in [0, 1], or all 1 where they say nothing: losses and layers above take them so."""
    for scale in (0.0, 1.0, 1e4):
        routing, inputs = subject.routing(), subject.inputs()
        activations = routing(Votes(scale * inputs["poses"], inputs["weight"]), inputs["activations"]).activations
        low, high = activations.min().item(), activations.max().item()
        seen = f"poses of {scale:g} give activations from {low:.6g} to {high:.6g}"
        if routing.makes_activations:
            require(low >= 0 and high <= 1 + 1e-6, seen)  # 1e-6: lengths adds 1e-7 to a length of one
        else:
            require(low == high == 1, f"{seen}, though makes_activations is False")


def gradients_are_exact(subject: RoutingSubject) -> None:
    """Gradients are those of finite differences in float64, unless some are stopped by design (then say so)."""
    probe, inputs = subject.probe(sizes=SMALL), subject.inputs(2, sizes=SMALL)
    for x in inputs.values():
        x.requires_grad_()
    torch.autograd.gradcheck(probe, tuple(inputs.values()))


def require_float32_under_autocast(layer: Layer, capsules: Capsules, tolerance: float) -> None:
    """Compare a layer under autocast to bfloat16 and to float16 with itself in float64, on the same capsules."""
    exact = copy.deepcopy(layer).double()
    for dtype in (torch.bfloat16, torch.float16):
        rounded = Capsules(*(x.to(dtype) for x in capsules))
        with torch.no_grad():
            expected = exact(Capsules(*(x.double() for x in rounded)))
            with torch.autocast("cpu", dtype):
                wholes = layer.float()(rounded)
        for x in wholes:
            require(x.dtype is torch.float32, f"under autocast to {dtype} the result is {x.dtype}")
        require_same(wholes, expected, f"float32 under autocast to {dtype} against float64", tolerance)


def autocast_keeps_float32(subject: RoutingSubject) -> None:
    """In a layer under autocast the arithmetic is that of float32: agreement is lost in fewer digits."""
    capsules = Capsules(*(subject.inputs()[name] for name in ("poses", "activations")))
    require_float32_under_autocast(_layer(subject), capsules, 1e-4)  # float32 has 7 digits, float16 fewer than 4


def extremes_stay_finite_under_autocast(subject: RoutingSubject) -> None:
    """Values and gradients are as finite in a layer under autocast as without: 1e4 squared is too much for float16."""
    for dtype in (torch.bfloat16, torch.float16):
        for name, inputs in extremes(subject).items():
            layer = _layer(subject).float()
            leaves = {key: inputs[key].clone().requires_grad_() for key in ("poses", "activations")}
            with torch.autocast("cpu", dtype):
                found = layer(Capsules(**leaves))._asdict()
            torch.stack([x.sum() for x in found.values()]).sum().backward()
            for key, leaf in [*leaves.items(), *layer.named_parameters()]:
                found |= {f"the gradient of {key}": leaf.grad} if leaf.grad is not None else {}
            for part, tensor in found.items():
                _is_finite(tensor, f"{dtype}, {name}: {part}")


def _layer(subject: RoutingSubject) -> Layer:
    """The routing in dense capsules, whose matrices are large enough for iterations to matter."""
    parts, part_dim, wholes, dim = sizes = Sizes()
    layer = DenseCapsules(Grid(parts, 1, 1, part_dim), wholes=wholes, dim=dim, deviation=1.0)
    layer.routing = subject.routing(sizes)
    return layer.eval()


LAWS = (
    Law(shapes_fit),
    Law(dtype_follows_the_input),
    Law(device_follows_the_input),
    Law(values_stay_finite),
    Law(gradients_stay_finite),
    Law(activations_are_in_range),
    Law(gradients_are_exact),
    Law(autocast_keeps_float32),
    Law(extremes_stay_finite_under_autocast),
)
