"""What every loss must do."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.errors import UserError
from capsnet_dist.plugins import Loss, Output, losses
from capsnet_dist.testing.common import LAWS as COMMON_LAWS
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law, Skipped, require, require_same
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.subject import Inputs, Subject, Target

CLASSES = 5


class LossProbe(nn.Module):
    """A loss as a function of tensors: scores, poses, reconstruction, images and labels."""

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self.plugin = loss

    def terms(self, *tensors: Tensor, progress: float = 0.5) -> dict[str, Tensor]:
        """Its terms by name."""
        scores, poses, reconstruction, images, labels = tensors
        return self.plugin(Output(scores, poses, reconstruction), images, labels, progress)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Its terms."""
        return tuple(self.terms(*tensors).values())


class LossSubject(Subject):
    """A loss under test."""

    registry = losses
    batched = frozenset({"scores", "poses", "reconstruction", "images", "labels"})

    def wrap(self, **options: Any) -> LossProbe:
        """A new one."""
        return LossProbe(self.construct(**options))

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0, channels: int = 1) -> Inputs:
        """Random outputs of a network, images and labels."""
        draw = torch.Generator().manual_seed(seed)
        return {
            "scores": torch.rand(batch, CLASSES, generator=draw, dtype=dtype),
            "poses": torch.randn(batch, CLASSES, 4, generator=draw, dtype=dtype),
            "reconstruction": torch.rand(batch, channels, 6, 7, generator=draw, dtype=dtype),
            "images": torch.rand(batch, channels, 6, 7, generator=draw, dtype=dtype),
            "labels": torch.randint(CLASSES, (batch,), generator=draw),
        }

    def total(self, inputs: Inputs, **options: Any) -> Tensor:
        """The sum of its terms."""
        terms = self.wrap().terms(*inputs.values(), **options)
        if not terms:
            raise Skipped("it gives no terms")
        return torch.stack(list(terms.values())).sum()


def terms_are_named_scalars(subject: LossSubject) -> None:
    """A loss is a dictionary of names and scalars of the scores' type, for any batch and any number of channels."""
    for batch, channels, dtype in ((3, 1, torch.float64), (1, 3, torch.float32)):
        terms: Any = subject.wrap().terms(*subject.inputs(batch, channels=channels, dtype=dtype).values())
        require(isinstance(terms, dict), f"it gives {type(terms).__name__} and not a dictionary")
        for name, term in terms.items():
            require(isinstance(name, str), f"the name {name!r} is no text")
            require(isinstance(term, Tensor), f"{name} is {type(term).__name__} and no tensor")
            require(term.shape == (), f"{name} has the shape {tuple(term.shape)}: a mean over the samples has none")
            require(term.dtype is dtype, f"{dtype} in, {name} of {term.dtype} out")


def lives_without_a_reconstruction(subject: LossSubject) -> None:
    """A network without a decoder gives None, which is either no matter or told to the user."""
    scores, poses, _, images, labels = subject.inputs().values()
    try:
        subject.wrap().plugin(Output(scores, poses, None), images, labels, 0.5)
    except UserError:
        return


def loss_is_a_mean_over_samples(subject: LossSubject) -> None:
    """The loss of a batch is the mean of the losses of its halves, else it changes with batch size and processes."""
    inputs = subject.inputs(4)
    halves = [subject.total({key: x[part] for key, x in inputs.items()}) for part in (slice(2), slice(2, 4))]
    require_same([subject.total(inputs)], [torch.stack(halves).mean()], "a batch against the mean of its halves")


def values_and_gradients_stay_finite(subject: LossSubject) -> None:
    """No infinity and no NaN where scores are 0, 1 or all equal, as they are when a training starts."""
    for score in (0.0, 0.1, 1.0):
        inputs = subject.inputs(dtype=torch.float32)
        inputs = {key: torch.full_like(x, score).requires_grad_() if key in _LEARNT else x for key, x in inputs.items()}
        total = subject.total(inputs)
        require(total.isfinite(), f"scores, poses and pixels of {score:g}: the loss is {total.item()}")
        if total.requires_grad:
            total.backward()
        for key in _LEARNT:
            gradient = inputs[key].grad
            finite = gradient is None or gradient.isfinite().all()
            require(finite, f"scores, poses and pixels of {score:g}: a gradient of {key} is infinite or NaN")


_LEARNT = ("scores", "poses", "reconstruction")


def gradients_reach_the_output(subject: LossSubject) -> None:
    """A gradient reaches the scores, the poses or the reconstruction, else nothing is learnt."""
    reached = _gradients(subject, subject.inputs())
    require(bool(reached), f"no gradient in any of {', '.join(_LEARNT)}")


def _gradients(subject: LossSubject, inputs: Inputs) -> dict[str, Tensor]:
    leaves = {key: x.clone().requires_grad_() if key in _LEARNT else x for key, x in inputs.items()}
    total = subject.total(leaves)
    if total.requires_grad:
        total.backward()
    found = {key: leaves[key].grad for key in _LEARNT}
    return {key: gradient for key, gradient in found.items() if gradient is not None and gradient.any()}


def right_costs_less_than_wrong(subject: LossSubject) -> None:
    """A high score of the true class, or the image itself rebuilt, costs less than the opposite."""
    inputs = subject.inputs()
    learnt = _gradients(subject, inputs)
    true = nn.functional.one_hot(inputs["labels"], CLASSES).double()
    opposites = {
        "scores": (0.05 + 0.9 * true, 0.95 - 0.9 * true),
        "reconstruction": (inputs["images"], 1 - inputs["images"]),
    }
    if not opposites.keys() & learnt.keys():
        raise Skipped("it depends on neither scores nor reconstruction")
    for key in opposites.keys() & learnt.keys():
        right, wrong = (subject.total(inputs | {key: value}).item() for value in opposites[key])
        require(right < wrong, f"{key} that are right cost {right:.4g}, and wrong ones {wrong:.4g}")


def permuting_classes_changes_nothing(subject: LossSubject) -> None:
    """No class is special: with classes in another order, and labels to match, the loss is the same."""
    inputs, order = subject.inputs(), torch.tensor([2, 0, 3, 1, 4])
    permuted = {key: x[:, order] if key in ("scores", "poses") else x for key, x in inputs.items()}
    permuted["labels"] = order.argsort()[inputs["labels"]]
    require_same([subject.total(permuted)], [subject.total(inputs)], "classes in another order")


def progress_is_accepted(subject: LossSubject) -> None:
    """Progress goes from 0 to 1, both included, and the loss is finite all the way."""
    for progress in (0.0, 0.5, 1.0):
        total = subject.total(subject.inputs(), progress=progress)
        require(total.isfinite(), f"at progress {progress:g} the loss is {total.item()}")


LAWS: tuple[Law[Any], ...] = (
    Law(terms_are_named_scalars),
    Law(lives_without_a_reconstruction),
    Law(loss_is_a_mean_over_samples),
    Law(values_and_gradients_stay_finite),
    Law(gradients_reach_the_output),
    Law(right_costs_less_than_wrong),
    Law(permuting_classes_changes_nothing),
    Law(progress_is_accepted),
    *COMMON_LAWS,
)


def check_loss(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a loss on every law that losses obey; the arguments are those of `check_routing`.

    Args:
        target: A class, a factory without arguments, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.
    """
    return check(LossSubject(target), LAWS, only, expected_failures, on_fail)
