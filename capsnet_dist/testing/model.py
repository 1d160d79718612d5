"""What every network must do."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.plugins import Image, Model, Output, models
from capsnet_dist.testing.common import MODULE_LAWS, exports_with_any_batch
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law, require, require_same
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.subject import Inputs, Subject, Target

IMAGE: Image = (3, 32, 32)
CLASSES = 4


class ModelProbe(nn.Module):
    """A network as a function of tensors: images and labels."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.plugin = model

    def output(self, images: Tensor, labels: Tensor | None) -> Output:
        """What the network says."""
        found: Any = self.plugin(images, labels)
        require(isinstance(found, Output), f"it gives {type(found).__name__} and not Output")
        return found

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Scores and poses, and what is rebuilt, if anything is."""
        images, labels = tensors
        return tuple(x for x in self.output(images, labels) if x is not None)


class ModelSubject(Subject):
    """A network under test.

    Args:
        target: What to test.
        image: The images it is built for.
    """

    registry = models
    batched = frozenset({"images", "labels"})

    def __init__(self, target: Target, image: Image) -> None:
        super().__init__(target)
        self.image = image

    def wrap(self, **options: Any) -> ModelProbe:
        """A new one."""
        return ModelProbe(self.construct(*self.structure(), **options))

    def structure(self) -> tuple[Image, int]:
        """The shape of an image, and how many classes there are."""
        return self.image, CLASSES

    def must_reach(self, probe: nn.Module) -> Iterable[str]:
        """Inputs that a gradient must reach."""
        return ("images",)

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
        """Random images and labels."""
        draw = torch.Generator().manual_seed(seed)
        images = torch.rand(batch, *self.image, generator=draw, dtype=dtype)
        return {"images": images, "labels": torch.randint(CLASSES, (batch,), generator=draw)}

    def network(self, dtype: torch.dtype = torch.float64) -> ModelProbe:
        """A new one in evaluation mode."""
        probe = self.probe(dtype=dtype)
        assert isinstance(probe, ModelProbe)
        return probe


@torch.no_grad()
def output_fits(subject: ModelSubject) -> None:
    """There is a score and a pose for each class, and an image like those that come in, or None; all are finite."""
    for batch, dtype in ((3, torch.float64), (1, torch.float32)):
        scores, poses, rebuilt = subject.network(dtype).output(*subject.inputs(batch, dtype=dtype).values())
        seen = f"{batch} images and {CLASSES} classes: "
        require(scores.shape == (batch, CLASSES), f"{seen}scores are {tuple(scores.shape)}")
        require(poses.ndim == 3 and poses.shape[:2] == (batch, CLASSES), f"{seen}poses are {tuple(poses.shape)}")
        if rebuilt is not None:
            require(rebuilt.shape == (batch, *subject.image), f"{seen}the reconstruction is {tuple(rebuilt.shape)}")
        for name, x in (("scores", scores), ("poses", poses), ("reconstruction", rebuilt)):
            require(x is None or x.isfinite().all(), f"{seen}{name} are not all finite")
            require(x is None or x.dtype is dtype, f"{dtype} in, {name} of {None if x is None else x.dtype} out")


@torch.no_grad()
def labels_only_choose_what_is_rebuilt(subject: ModelSubject) -> None:
    """Scores and poses do not depend on labels, which only choose what is rebuilt: without them the predicted class."""
    probe, inputs = subject.network(), subject.inputs()
    images, labels = inputs.values()
    alone = probe.output(images, None)
    for name, given in (("labels", labels), ("other labels", (labels + 1) % CLASSES)):
        require_same(probe.output(images, given)[:2], alone[:2], f"scores and poses with {name}, against none")
    if alone.reconstruction is None:
        return
    best: Any = probe.output(images, alone.scores.argmax(dim=1)).reconstruction
    require_same([alone.reconstruction], [best], "what is rebuilt without labels, against the class of the best score")


def predictions_have_the_scores_of_evaluation(subject: ModelSubject) -> None:
    """`predict`, which rebuilds nothing, gives the scores of evaluation, and leaves the network in its mode."""
    probe = subject.network(torch.float32)
    images = subject.inputs(dtype=torch.float32)["images"]
    with torch.no_grad():
        expected = probe.output(images, None).scores
    found = probe.train().plugin.predict(images)
    require_same([found.scores], [expected], "scores of predict, against those of evaluation", 1e-4)
    require(probe.plugin.training, "after predict it is no longer in training mode")


LAWS: tuple[Law[Any], ...] = (
    Law(output_fits),
    Law(labels_only_choose_what_is_rebuilt),
    Law(predictions_have_the_scores_of_evaluation),
    *(law for law in MODULE_LAWS if law.check is not exports_with_any_batch),
)


def check_model(
    target: Target,
    *,
    image: Image = IMAGE,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try a network on every law that networks obey; the other arguments are those of `check_routing`.

    Args:
        target: A class, a factory that takes the shape of an image and the number of classes, or a choice with options.
        image: Channels, height and width of the images to build it for.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.
    """
    return check(ModelSubject(target, image), LAWS, only, expected_failures, on_fail)
