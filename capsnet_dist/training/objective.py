"""What a step minimises: the terms of all losses, and the guard against gradients that are not finite."""

import copy
from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from accelerate.optimizer import AcceleratedOptimizer
from jaxtyping import Int64
from torch import Tensor

from capsnet_dist.data.batches import Batch, Batches
from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Loss, Model, Output, WeighingLoss, losses


def weigh(criteria: Sequence[Loss], labels: Tensor, num_classes: int) -> list[Loss]:
    """What training minimises: losses that can make up for classes of different sizes are told those sizes.

    Args:
        criteria: The losses.
        labels: Those of the training images, on the device.
        num_classes: How many classes there are.
    """
    counts = labels.flatten().bincount(minlength=num_classes)
    return [criterion.weighed(counts) if isinstance(criterion, WeighingLoss) else criterion for criterion in criteria]


def loss_terms(criteria: Sequence[Loss], output: Output, batch: Batch, progress: float) -> dict[str, Tensor]:
    """Each term of the losses, and their sum as "loss"."""
    labels = batch.wanted(output.scores)
    terms = {name: term for c in criteria for name, term in c(output, batch.pictures, labels, progress).items()}
    return terms | {"loss": torch.stack(list(terms.values())).sum()}


def require_several(criteria: Sequence[Loss], labels: Int64[Tensor, "b *m"]) -> None:
    """Refuse losses that take one label where images have several.

    Raises:
        UserError: with the loss, the rule and the mend.
    """
    if labels.ndim > 1 and (unable := [c for c in criteria if not getattr(c, "takes_several", False)]):
        raise UserError(
            f"The loss {losses.name_of(unable[0])!r} takes one label an image, and these images have "
            f"{labels.shape[1]}: --loss margin takes several."
        )


def require_losses(criteria: Sequence[Loss], batch: Batch) -> None:
    """Refuse losses that do not take so many labels, or mixed ones.

    Raises:
        UserError: with the loss, the rule and the mend.
    """
    labels = batch.labels
    if batch.shares is not None:
        if labels.ndim > 1:
            raise UserError("Images of several objects cannot be mixed: leave mixup out of --augmentation.")
        if unable := [c for c in criteria if not getattr(c, "takes_mixed", False)]:
            raise UserError(
                f"The loss {losses.name_of(unable[0])!r} does not take mixed labels: leave mixup out of "
                "--augmentation, or choose --loss margin, cross_entropy or negative_log_likelihood."
            )
    require_several(criteria, labels)


def rehearse(model: Model, criteria: Sequence[Loss], batches: Batches) -> None:
    """One backward pass of a copy, before DDP would fail at the second step.

    Raises:
        UserError: weights that no loss reaches, or a loss that does not take labels like these.
    """
    batch = batches.shard(0, 0, 1).first(2)
    require_losses(criteria, batch)
    model = copy.deepcopy(model)
    loss_terms(criteria, model(batch.images, batch.labels), batch, 0.0)["loss"].backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    if idle:
        raise UserError(
            f"No loss reaches {', '.join(idle)}. Leave that part out, or add a loss that uses it: "
            "for a decoder, --model.decoder none or --regularizer reconstruction."
        )


def warm_up(
    replica: Callable[..., Output], model: Model, criteria: Sequence[Loss], batches: Batches, accelerator: Accelerator
) -> None:
    """Two backward passes that leave nothing, because DDP orders its sums anew after the first.

    With three processes or more the step after a restart would round otherwise than in the run left alone.

    Args:
        replica: The network as DDP wraps it.
        model: The network itself.
        criteria: The losses to minimise.
        batches: The training images.
        accelerator: The processes.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for _ in range(2):
        batch = batches.shard(0, accelerator.process_index, accelerator.num_processes)
        accelerator.backward(loss_terms(criteria, replica(batch.images, batch.labels), batch, 0.0)["loss"])
        model.zero_grad()
    for name, buffer in model.named_buffers():
        buffer.copy_(buffers[name])


def restore_statistics(statistics: Sequence[Tensor], kept: Sequence[Tensor], skipped: Tensor) -> None:
    """Where a step was skipped, forget what its batch did to running statistics, without waiting for the device.

    Args:
        statistics: Buffers of the network.
        kept: What they held before the step.
        skipped: 1 if it was skipped, else 0.
    """
    for buffer, before in zip(statistics, kept, strict=True):
        buffer.copy_(torch.where(skipped > 0, before, buffer))


def step_if_finite(optimizer: AcceleratedOptimizer, norm: Tensor) -> Tensor:
    """Let the optimizer follow the gradient, unless its norm is not finite; 1 if it was skipped, else 0.

    The norm is that of the gradient averaged over all processes, so all of them skip the same step.
    """
    skipped = (~norm.isfinite()).float()
    if optimizer.scaler is None:
        if getattr(optimizer.optimizer, "_step_supports_amp_scaling", False):
            optimizer.optimizer.found_inf = skipped  # fused optimizers skip on the device, without being waited for
        elif skipped:
            return skipped
    optimizer.step()  # with a scaler, fp16's, it is the scaler that skips
    return skipped
