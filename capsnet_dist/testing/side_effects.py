"""Laws for what a plugin of any kind leaves behind: in its inputs, in its own state, in the process."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.testing.global_state import SETTINGS, draws, kept, read, seed
from capsnet_dist.testing.law import Skipped, require, require_same
from capsnet_dist.testing.subject import Inputs, Subject


def evaluation_repeats(subject: Subject) -> None:
    """The same input gives the same output, whatever was seen between, else no result can be looked up again."""
    probe, inputs = subject.probe(), subject.inputs()
    with torch.no_grad():
        first = [x.clone() for x in probe(*inputs.values())]
        require_same(probe(*inputs.values()), first, "a second call", 0.0)
        probe(*subject.inputs(seed=1).values())
        require_same(probe(*inputs.values()), first, "a call after another input", 0.0)


def inputs_stay_untouched(subject: Subject) -> None:
    """No input is written to, else whoever shares it computes something else."""
    for training in (False, True):
        probe, inputs = subject.probe().train(training), subject.inputs()
        before = {key: x.clone() for key, x in inputs.items()}
        with torch.no_grad():
            probe(*inputs.values())
        for key, x in inputs.items():
            require_same([x], [before[key]], f"{key} after a call", 0.0)


def state_stays_untouched(subject: Subject) -> None:
    """Evaluation leaves parameters and buffers alone, else the saved weights depend on what was predicted."""
    probe = subject.probe()
    before = {key: x.clone() for key, x in probe.state_dict().items()}
    with torch.no_grad():
        probe(*subject.inputs().values())
    after = probe.state_dict()
    require(before.keys() == after.keys(), f"the state had {sorted(before)} and has {sorted(after)}")
    for key, x in after.items():
        require_same([x], [before[key]], f"{key} after a call", 0.0)


def evaluation_draws_nothing(subject: Subject) -> None:
    """Evaluation takes no random numbers, else it shifts those of everyone else and results depend on the order."""
    probe, inputs = subject.probe(), subject.inputs()
    with torch.no_grad():
        moved = draws(lambda: probe(*inputs.values())).moved
    moved = [name for name in moved if name != "Python"]  # type checkers draw from it: which items they look at
    require(not moved, f"the random state of {' and of '.join(moved)} moved")


def process_stays_untouched(subject: Subject) -> None:
    """No call seeds a global random state or changes a setting of the process: all other code shares them."""
    for when, work in _phases(subject).items():
        with kept():
            work()  # what it imports may change settings, once
        before = read(SETTINGS)
        seeded = draws(work).seeded
        after = read(SETTINGS)
        changes = [f"{name}{_change(before[name], x)}" for name, x in after.items() if x != before[name]]
        require(not changes, f"{when} changes {' and '.join(changes)}")
        require(not seeded, f"{when} seeds the random state of {' and of '.join(seeded)}")


def _phases(subject: Subject) -> dict[str, Callable[[], object]]:
    """What a plugin does in the course of its life, by how a report speaks of it."""
    inputs = subject.inputs()
    training, evaluation = subject.probe().train(), subject.probe()

    def learn() -> None:
        leaves = [x.clone().requires_grad_(x.is_floating_point()) for x in inputs.values()]
        outputs = [x.sum() for x in training(*leaves) if x.requires_grad]
        if outputs:
            torch.stack(outputs).sum().backward()

    @torch.no_grad()
    def predict() -> None:
        evaluation(*inputs.values())

    return {"its construction": subject.wrap, "a step of training": learn, "an evaluation": predict}


def _change(before: Any, after: Any) -> str:
    """From what to what a setting changed, where that can be read at a glance."""
    return "" if isinstance(before, dict | list) else f" from {before} to {after}"


def batches_leave_no_statistics(subject: Subject) -> None:
    """Buffers gather nothing of the batch in training, else processes differ, and a sample depends on its batch."""
    buffers = [_after_training(subject, subject.inputs(seed=number)) for number in (1, 2)]
    if not buffers[0]:
        raise Skipped("it has no buffers")
    moved = [name.partition(".")[2] for name, x in buffers[0].items() if not torch.equal(x, buffers[1][name])]
    require(not moved, f"these buffers depend on the batch trained on: {', '.join(moved)}")


def _after_training(subject: Subject, inputs: Inputs) -> dict[str, Tensor]:
    """The buffers after a step of training."""
    probe = subject.probe().train()
    seed(0)
    probe(*inputs.values())
    return dict(probe.named_buffers())


def training_keeps_samples_apart(subject: Subject) -> None:
    """What comes of a sample in training does not depend on the others in its batch, else batch size matters."""
    probes = [subject.probe().train() for _ in range(2)]
    inputs, others = subject.inputs(), subject.inputs(seed=1)
    mixed = {key: torch.cat([x[:1], others[key][1:]]) if key in subject.batched else x for key, x in inputs.items()}
    usual, changed = (_first(probe, batch) for probe, batch in zip(probes, (inputs, mixed), strict=True))
    require_same(changed, usual, "in training, sample 0 among others")


def _first(probe: nn.Module, inputs: Inputs) -> list[Tensor]:
    """What comes of the first sample."""
    seed(0)
    return [x[:1] for x in probe(*inputs.values())]
