"""Laws for plugins of every kind."""

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from capsnet_dist.testing.global_state import seed
from capsnet_dist.testing.law import Law, Skipped, require, require_same
from capsnet_dist.testing.side_effects import (
    batches_leave_no_statistics,
    evaluation_draws_nothing,
    evaluation_repeats,
    inputs_stay_untouched,
    process_stays_untouched,
    state_stays_untouched,
    training_keeps_samples_apart,
)
from capsnet_dist.testing.subject import Inputs, Subject


def gradients(probe: nn.Module, inputs: Inputs) -> tuple[dict[str, Tensor | None], dict[str, Tensor | None]]:
    """Gradients of a random mixture of the outputs: of the inputs, and of the parameters."""
    leaves = {key: x.detach().clone().requires_grad_(x.is_floating_point()) for key, x in inputs.items()}
    outputs = [output for output in probe(*leaves.values()) if output.requires_grad]
    require(len(outputs) > 0, "no output carries a gradient")
    torch.stack([(output * torch.randn_like(output)).sum() for output in outputs]).sum().backward()
    return {key: x.grad for key, x in leaves.items()}, {key: x.grad for key, x in probe.named_parameters()}


def gradients_reach_inputs(subject: Subject) -> None:
    """A gradient reaches every input, else what lies below does not learn."""
    probe = subject.probe()
    reached, _ = gradients(probe, subject.inputs())
    for name in subject.must_reach(probe):
        gradient = reached[name]
        require(gradient is not None and gradient.any(), f"the gradient of {name} is {_nothing(gradient)}")


def gradients_reach_parameters(subject: Subject) -> None:
    """A gradient reaches every parameter, else it never learns, and training on several processes stops at it."""
    probe = subject.probe()
    if not list(probe.parameters()):
        raise Skipped("it has no parameters")
    _, reached = gradients(probe, subject.inputs())
    lost = [f"{name.partition('.')[2]} ({_nothing(x)})" for name, x in reached.items() if x is None or not x.any()]
    require(not lost, f"no gradient in: {', '.join(lost)}")


def _nothing(gradient: Tensor | None) -> str:
    return "absent" if gradient is None else "zero everywhere"


def samples_are_independent(subject: Subject) -> None:
    """What comes of a sample does not depend on the others in its batch, else predictions change with the batch."""
    probe, inputs = subject.probe(), subject.inputs()
    together = probe(*inputs.values())
    for sample in range(3):
        alone = {key: x[sample : sample + 1] if key in subject.batched else x for key, x in inputs.items()}
        require_same(probe(*alone.values()), [x[sample : sample + 1] for x in together], f"sample {sample} alone")


TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4}
"""What sums in another order may differ by: float32 has 7 digits."""


def memory_layout_changes_nothing(subject: Subject) -> None:
    """Results and gradients do not depend on how inputs lie in memory: `view` fails on transposed ones."""
    for dtype, tolerance in TOLERANCES.items():
        probe, inputs = subject.probe(dtype=dtype), subject.inputs(dtype=dtype)
        usual, scattered = (_results(probe, inputs, lay) for lay in (lambda x: x, _scattered))
        require_same(scattered, usual, f"transposed inputs and gradients in {dtype}", tolerance)


def _results(probe: nn.Module, inputs: Inputs, lay: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """The outputs, and the gradients of the inputs, of tensors laid out in memory in some way."""
    leaves = [lay(x).detach().requires_grad_(x.is_floating_point()) for x in inputs.values()]
    found = list(probe(*leaves))
    outputs = [output for output in found if output.requires_grad]
    draw = torch.Generator().manual_seed(0)
    mixture = [lay(torch.randn(x.shape, generator=draw, dtype=x.dtype)) for x in outputs]
    learnt = [x for x in leaves if x.requires_grad]
    reached: Any = torch.autograd.grad(outputs, learnt, mixture, allow_unused=True) if outputs else ()
    return [*(x.detach() for x in found), *(gradient for gradient in reached if gradient is not None)]


def _scattered(x: Tensor) -> Tensor:
    """The same numbers in memory in another order, and with gaps where there is only one axis."""
    axes = tuple(range(x.ndim))[::-1]
    return torch.stack([x, x], dim=-1)[..., 0] if x.ndim == 1 else x.permute(axes).contiguous().permute(axes)


def weights_rebuild_the_function(subject: Subject) -> None:
    """The state dict holds all there is to know, else what is loaded from a file computes something else."""
    trained, fresh, inputs = subject.probe(seed=1), subject.probe(seed=2), subject.inputs()
    with torch.no_grad():
        trained.train()(*subject.inputs(seed=1).values())  # what moves in training must be saved too
        saved = save({key: x.contiguous() for key, x in trained.state_dict().items()})
        fresh.load_state_dict(load(saved))
        for training in (False, True):
            found, expected = (_seeded(probe.train(training), inputs) for probe in (fresh, trained))
            require_same(found, expected, f"built anew and loaded, in {'training' if training else 'evaluation'}")


def _seeded(probe: nn.Module, inputs: Inputs) -> list[Tensor]:
    """The outputs, with the same random numbers each time."""
    seed(0)
    return list(probe(*inputs.values()))


def options_are_plain_data(subject: Subject) -> None:
    """Options have types and defaults and survive JSON, else a saved configuration cannot build the plugin again."""
    subject.round_trip()


def exports_with_any_batch(subject: Subject) -> None:
    """torch.export takes it with a batch of any size, else it runs only where Python does."""
    probe, inputs, others = subject.probe(), subject.inputs(), subject.inputs(5)
    sizes = [{0: torch.export.Dim.DYNAMIC} if key in subject.batched else None for key in inputs]
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.export's own
        exported = _export(probe, list(inputs.values()), sizes)
        require_same(exported(*others.values()), probe(*others.values()), "exported, on a batch of 5")


def _export(probe: nn.Module, inputs: Sequence[Tensor], sizes: Sequence[object]) -> nn.Module:
    program = torch.export.export(probe, tuple(inputs), dynamic_shapes={"tensors": tuple(sizes)})
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file).module()


LAWS = (
    Law(memory_layout_changes_nothing),
    Law(evaluation_repeats),
    Law(inputs_stay_untouched),
    Law(evaluation_draws_nothing),
    Law(process_stays_untouched),
    Law(batches_leave_no_statistics, soft=True),
    Law(options_are_plain_data),
)
"""Laws for everything that computes."""

PROCESS_LAWS = (
    Law(evaluation_repeats),
    Law(evaluation_draws_nothing),
    Law(process_stays_untouched),
    Law(options_are_plain_data),
)
"""Laws for what has neither gradients nor tensors of another layout."""

MODULE_LAWS = (
    Law(gradients_reach_inputs),
    Law(gradients_reach_parameters),
    Law(samples_are_independent),
    Law(training_keeps_samples_apart, soft=True),
    Law(state_stays_untouched),
    Law(weights_rebuild_the_function),
    *LAWS,
    Law(exports_with_any_batch, soft=True),
)
"""Laws for layers and routings."""
