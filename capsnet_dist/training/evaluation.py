"""Evaluation over all processes, every sample counted exactly once."""

from collections.abc import Callable, Sequence

import torch
from accelerate import Accelerator
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from capsnet_dist.data.batches import together
from capsnet_dist.objects import aligned, is_right, likeliest
from capsnet_dist.plugins import Loss, Model, Split, to_unit, without_images
from capsnet_dist.processes.watchdog import beat
from capsnet_dist.record.results import Evaluation, top_k
from capsnet_dist.training.objective import require_several
from capsnet_dist.training.step_metrics import sum_over_processes


class GivenUp(Exception):
    """An evaluation was left before its end, by all processes alike."""


@torch.no_grad()
def evaluate(
    model: Model,
    split: Split,
    criteria: Sequence[Loss],
    accelerator: Accelerator,
    batch_size: int | None = None,
    views: Callable[[Tensor], Sequence[Tensor]] = lambda images: [images],
    given_up: Callable[[], bool] = lambda: False,
    told: Callable[[Tensor, Tensor], object] = lambda indices, scores: None,
) -> Evaluation:
    """Evaluate the raw network (not its DDP wrapper), each process on its own share of the samples.

    Reconstructions are those of the predicted class, or of as many as an image has labels. Counts are integers and sums
    float64, so the result does not depend on the number of processes beyond the rounding of one forward pass.

    Args:
        model: The network.
        split: The samples.
        criteria: The losses to measure.
        accelerator: The processes.
        batch_size: Samples in one forward pass of one process; None: 256, or 1024 on a GPU, which small ones keep idle.
        views: What the network sees of images: the augmentation's, where one cuts them. Scores are the mean over these,
            all else is that of the first.
        given_up: Asked before each batch whether to leave the rest out.
        told: Given the indices and the scores of each batch of this process.

    Raises:
        GivenUp: any process was asked to leave the rest out.
        UserError: a loss takes one label, and images have several.
    """
    require_several(criteria, split.labels)
    device = split.labels.device
    num_classes = len(model.classes)
    confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)
    near, whole = torch.zeros(2, 1, dtype=torch.int64, device=device)
    sums: dict[str, Tensor] = {}
    size = batch_size or (1024 if device.type == "cuda" else 256)
    where = device if split.is_resident else torch.device("cpu")  # or each batch would wait for the GPU
    own = torch.arange(len(split.labels), device=where)[accelerator.process_index :: accelerator.num_processes]
    dtype = next(model.parameters()).dtype
    is_left = False
    # A process without samples evaluates one and weighs it by nothing, so that all reduce the same terms.
    with model.evaluating():
        for indices in own.split(size) if len(own) else [torch.zeros(1, dtype=torch.int64, device=where)]:
            beat()
            if is_left := given_up():
                break
            labels = split.labels[indices.to(device)]
            (seen, apart), *further = together(views, *split.apart(indices))
            pictures = to_unit(seen if apart is None else apart, dtype)
            with accelerator.autocast():
                output = model(to_unit(seen, dtype))
                if further:
                    with without_images():
                        scores = [output.scores, *(model(to_unit(view, dtype)).scores for view, _ in further)]
                    output = output._replace(scores=torch.stack(scores).mean(0))
                predicted = aligned(output.scores, labels)
                if labels.ndim > 1 and output.reconstruction is not None:
                    output = output._replace(reconstruction=model.rebuild(output.poses, predicted))
            weight = len(indices) if len(own) else 0
            flat = (labels * num_classes + predicted).flatten()
            confusion += flat.bincount(minlength=num_classes**2) * bool(weight)
            if weight:
                told(indices, output.scores)
            near += _is_near(output.scores, labels).sum() * bool(weight)
            whole += is_right(output.scores, labels).sum() * bool(weight)
            for criterion in criteria:
                for name, term in criterion(output, pictures, labels, 1.0).items():
                    sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64, device=device)) + term * weight
    if sum_over_processes(torch.tensor(is_left, dtype=torch.int64, device=device), accelerator):
        raise GivenUp
    counts = sum_over_processes(torch.cat([confusion, near, whole]), accelerator).cpu()
    totals = sum_over_processes(torch.stack(list(sums.values())), accelerator) if sums else torch.zeros(0)
    means = (totals / len(split.labels)).tolist()
    confusion = rearrange(counts[:-2], "(true predicted) -> true predicted", true=num_classes)
    terms, objects = dict(zip(sums, means, strict=True)), split.labels[:1].numel()
    return Evaluation(confusion, terms, int(counts[-2]), objects, int(counts[-1]))


def _is_near(scores: Float[Tensor, "b j"], labels: Int64[Tensor, "b *m"]) -> Bool[Tensor, "b m"]:
    """Whether the class of each object is among the highest scores; of equal ones the first, as in `argmax`."""
    highest = rearrange(likeliest(scores, top_k(scores.shape[1])), "b k -> b 1 k")
    return (highest == rearrange(labels, "b ... -> b (...) 1")).any(dim=-1)
