"""What every capsule layer must do."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.capsules import Capsules, Grid
from capsnet_dist.plugins import Layer, Routing, layers
from capsnet_dist.testing.common import MODULE_LAWS, gradients
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law, require
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.routing_values import require_float32_under_autocast
from capsnet_dist.testing.subject import Inputs, Subject, Target

BELOW = Grid(types=2, height=5, width=4, dim=16)  # 16 numbers are a vector, or a 4 x 4 matrix


class LayerProbe(nn.Module):
    """A layer as a function of tensors: poses and activations."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.plugin = layer

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Poses and activations of the wholes."""
        poses, activations = tensors
        return tuple(self.plugin(Capsules(poses, activations)))


class LayerSubject(Subject):
    """A layer under test."""

    registry = layers
    batched = frozenset({"poses", "activations"})

    def wrap(self, **options: Any) -> nn.Module:
        """A new one."""
        return LayerProbe(self.construct(*self.structure(), **options))

    def structure(self) -> tuple[Grid]:
        """The capsules below."""
        return (BELOW,)

    def layer(self) -> Layer:
        """A new one in float64 and evaluation mode."""
        return self.probe().get_submodule("plugin")  # pyright: ignore

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
        """Random capsules."""
        draw = torch.Generator().manual_seed(seed)
        poses = torch.randn(batch, BELOW.num_capsules, BELOW.dim, generator=draw, dtype=dtype)
        return {"poses": poses, "activations": torch.rand(batch, BELOW.num_capsules, generator=draw, dtype=dtype)}


def grid_is_what_comes_out(subject: LayerSubject) -> None:
    """`outputs` says how many capsules of which size come out, since the next layer is built from it."""
    for batch in (3, 1):
        layer = subject.layer()
        grid, given = layer.outputs, layer(Capsules(*subject.inputs(batch).values()))
        require(isinstance(given, Capsules), f"it gives {type(given).__name__} and not Capsules")
        expected = {"poses": (batch, grid.num_capsules, grid.dim), "activations": (batch, grid.num_capsules)}
        for name, tensor in given._asdict().items():
            seen = f"batch {batch}: {name} are {tuple(tensor.shape)}, and {grid} means {expected[name]}"
            require(tuple(tensor.shape) == expected[name], seen)
        require(layer.inputs == BELOW, f"built for {BELOW}, it says that its inputs are {layer.inputs}")


def dtype_follows_the_input(subject: LayerSubject) -> None:
    """float64 in, float64 out, and float32 the same: else slow exact arithmetic cannot check the fast one."""
    for dtype in (torch.float64, torch.float32):
        for wholes in subject.probe(dtype=dtype)(*subject.inputs(dtype=dtype).values()):
            require(wholes.dtype is dtype, f"{dtype} in, {wholes.dtype} out")


def activations_are_in_range(subject: LayerSubject) -> None:
    """Activations are in [0, 1], or all 1 where the grid says that they mean nothing."""
    layer = subject.layer()
    activations = layer(Capsules(*subject.inputs().values())).activations
    low, high = activations.min().item(), activations.max().item()
    seen = f"activations from {low:.6g} to {high:.6g}, and outputs.activations is {layer.outputs.activations}"
    # 1e-6: lengths adds 1e-7 to a length of one
    require(low >= 0 and high <= 1 + 1e-6 if layer.outputs.activations else low == high == 1, seen)


def values_and_gradients_stay_finite(subject: LayerSubject) -> None:
    """No infinity and no NaN where all parts are absent, or long: one of them ends a training."""
    for scale in (0.0, 1e4):
        probe, usual = subject.probe(dtype=torch.float32), subject.inputs(dtype=torch.float32)
        inputs = {"poses": scale * usual["poses"], "activations": (scale * usual["activations"]).clamp(max=1)}
        found = dict(zip(("poses", "activations"), probe(*inputs.values()), strict=True))
        for origin in gradients(probe, inputs):
            found |= {f"the gradient of {name}": gradient for name, gradient in origin.items()}
        for name, tensor in found.items():
            if tensor is not None:
                wrong = int((~tensor.isfinite()).sum())
                require(wrong == 0, f"poses times {scale:g}: {wrong} of {tensor.numel()} numbers of {name} are not")


def autocast_keeps_float32(subject: LayerSubject) -> None:
    """Under autocast a layer routes in float32 and gives float32: agreement is lost in fewer digits."""
    layer = subject.layer()
    for module in layer.modules():
        if isinstance(module, Routing):
            module.register_forward_pre_hook(_require_float32)
    capsules = Capsules(*subject.inputs().values())
    require_float32_under_autocast(layer, capsules, 3e-2)  # a convolution may run in bfloat16, good to 4e-3 a number


def _require_float32(routing: nn.Module, tensors: Any) -> None:
    votes, activations = tensors
    require(not torch.is_autocast_enabled("cpu"), "its routing runs under autocast")
    for name, x in {"poses": votes.poses, "activations": activations}.items():
        require(x.dtype in (torch.float32, torch.float64), f"its routing gets {name} in {x.dtype}")


def wrong_capsules_are_refused(subject: LayerSubject) -> None:
    """Capsules of another number or size than the layer was built for are an error, and not a wrong result."""
    number, dim = BELOW.num_capsules, BELOW.dim
    for shape in ((number, dim + 1), (number, dim - 1), (number + 1, dim), (number - 1, dim)):
        capsules = Capsules(torch.randn(2, *shape).double(), torch.rand(2, shape[0]).double())
        try:
            subject.layer()(capsules)
        except Exception:
            continue
        require(False, f"built for {number} capsules of size {dim}, it takes {shape[0]} of size {shape[1]}")


LAWS: tuple[Law[Any], ...] = (
    Law(grid_is_what_comes_out),
    Law(dtype_follows_the_input),
    Law(activations_are_in_range),
    Law(values_and_gradients_stay_finite),
    Law(autocast_keeps_float32),
    Law(wrong_capsules_are_refused),
    *MODULE_LAWS,
)


def check_layer(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a layer on every law that layers obey; the arguments are those of `check_routing`.

    Args:
        target: A class, a factory that takes the grid of the capsules below, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.
    """
    return check(LayerSubject(target), LAWS, only, expected_failures, on_fail)
