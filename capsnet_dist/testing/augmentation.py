"""What every augmentation must do."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from capsnet_dist.data.order import draws, key
from capsnet_dist.plugins import Augmentation, augmentations
from capsnet_dist.testing.common import LAWS as COMMON_LAWS
from capsnet_dist.testing.conduct import OnFail, check
from capsnet_dist.testing.law import Law, Skipped, require, require_same
from capsnet_dist.testing.report import Report
from capsnet_dist.testing.routing import NONE
from capsnet_dist.testing.side_effects import batches_leave_no_statistics
from capsnet_dist.testing.subject import Inputs, Subject, Target

LARGEST_DRAW = 1 - 2**-24  # draws have 24 bits


class AugmentationProbe(nn.Module):
    """An augmentation as a function of tensors: images, their draws, and the images to mix them with and theirs."""

    def __init__(self, augmentation: Augmentation) -> None:
        super().__init__()
        self.plugin = augmentation

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The images that training sees, and where they are mixtures each image's own share."""
        images, numbers, others, other_numbers = (x.detach() for x in tensors)
        if self.plugin.mixes:
            return self.plugin.mix(images, others, numbers, other_numbers)
        return (self.plugin(images, numbers),)


class AugmentationSubject(Subject):
    """An augmentation under test."""

    registry = augmentations
    batched = frozenset({"images", "draws", "others", "other_draws"})

    def wrap(self, **options: Any) -> AugmentationProbe:
        """A new one."""
        return AugmentationProbe(self.construct(**options))

    def inputs(self, batch: int = 3, *, dtype: torch.dtype = torch.float32, seed: int = 0, channels: int = 3) -> Inputs:
        """Random images with a black margin, which some move things into, with their draws, and others likewise.

        Draws are float32, whatever the type that is asked for.
        """
        own, other = (_images(batch, channels, seed), _images(batch, channels, seed + 1000))
        number = self.construct().num_draws
        numbers = [draws(key(seed, epoch), torch.arange(batch), number) for epoch in (0, 1)]
        return {"images": own, "draws": numbers[0], "others": other, "other_draws": numbers[1]}


def _images(batch: int, channels: int, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (batch, channels, 32, 36), generator=draw, dtype=torch.uint8)
    images[:, :, :4] = images[:, :, -5:] = images[..., :3] = images[..., -4:] = 0
    return images


def sizes_are_those_of_evaluation(subject: AugmentationSubject) -> None:
    """Images stay bytes, all of the one size that evaluation sees, whatever is drawn: the network is built for it."""
    for channels in (1, 3):
        inputs, probe = subject.inputs(channels=channels), subject.wrap()
        seen = probe.plugin.still(inputs["images"])
        for drawn in _with_extremes(inputs["draws"]):
            found = probe(*(inputs | {"draws": drawn, "other_draws": drawn}).values())[0]
            require(found.dtype is torch.uint8, f"bytes in, {found.dtype} out")
            differs = f"training sees {tuple(found.shape)} and evaluation {tuple(seen.shape)}"
            require(found.shape == seen.shape, differs)


def evaluation_sees_the_same(subject: AugmentationSubject) -> None:
    """Evaluation takes no draws: `still` gives the same each time, and `views` gives that first, all of one size."""
    plugin, images = subject.wrap().plugin, subject.inputs()["images"]
    before = images.clone()
    seen = plugin.still(images).clone()
    require_same([images], [before], "images after a call of still", 0.0)
    require_same([plugin.still(images)], [seen], "still, a second time", 0.0)
    views = plugin.views(images)
    require_same(views[:1], [seen], "the first of views against still", 0.0)
    sizes = {tuple(view.shape) for view in views}
    require(len(sizes) == 1, f"views are of several sizes: {sorted(sizes)}")


def division_changes_nothing(subject: AugmentationSubject) -> None:
    """An image and its draws alone decide what becomes of it, else batch size and the number of processes matter."""
    probe, inputs = subject.wrap(), subject.inputs(12)
    whole = [x.clone() for x in probe(*inputs.values())]
    for sizes in ((1,) * 12, (5, 7), (8, 4)):
        parts = zip(*(x.split(sizes) for x in inputs.values()), strict=True)
        found = [torch.cat(outputs) for outputs in zip(*(probe(*part) for part in parts), strict=True)]
        require_same(found, whole, f"12 images divided into {', '.join(map(str, sizes))}", 0.0)


def draws_decide(subject: AugmentationSubject) -> None:
    """Other draws make other images, else every epoch shows the same ones."""
    probe, inputs = subject.wrap(), subject.inputs(12)
    if not probe.plugin.num_draws:
        raise Skipped("it takes no draws")
    first, second = (probe(*(inputs | {"draws": inputs[name]}).values())[0] for name in ("draws", "other_draws"))
    require(not torch.equal(first, second), "12 images are the same in two epochs")


def shares_of_mixtures_are_at_least_half(subject: AugmentationSubject) -> None:
    """Each mixture says how much of it is the image's own, from a half to one: its classes are mixed likewise."""
    probe, inputs = subject.wrap(), subject.inputs()
    if not probe.plugin.mixes:
        raise Skipped("it does not mix")
    for drawn in _with_extremes(inputs["draws"]):
        share = probe(*(inputs | {"draws": drawn}).values())[1]
        require(share.shape == (3,), f"3 images have shares of the shape {tuple(share.shape)}")
        fits = ((share >= 0.5) & (share <= 1)).all()
        require(fits, f"shares go from {share.min().item():.3g} to {share.max().item():.3g}")


def no_value_is_waited_for(subject: AugmentationSubject) -> None:
    """What it does takes no value from the device, else each step waits for it: `.item()`, `if` on a tensor, masks."""
    subject.wrap()(*(x.to("meta") for x in subject.inputs().values()))


def _with_extremes(drawn: Tensor) -> tuple[Tensor, ...]:
    """Draws, and the smallest and the largest that there are."""
    return drawn, torch.zeros_like(drawn), torch.full_like(drawn, LARGEST_DRAW)


LAWS: tuple[Law[Any], ...] = (
    Law(sizes_are_those_of_evaluation),
    Law(evaluation_sees_the_same),
    Law(division_changes_nothing),
    Law(draws_decide),
    Law(shares_of_mixtures_are_at_least_half),
    Law(no_value_is_waited_for, soft=True),
    *(law for law in COMMON_LAWS if law.check is not batches_leave_no_statistics),
)


def check_augmentation(
    target: Target,
    *,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] = NONE,
    on_fail: OnFail = "raise",
) -> Report:
    """Try an augmentation on every law that augmentations obey; the arguments are those of `check_routing`.

    Args:
        target: A class, a factory without arguments, or a choice with options.
        only: Names of the checks to run; all of them without.
        expected_failures: Checks that must fail, by name, each with the reason.
        on_fail: "raise", or "report" to leave it to the caller.

    Raises:
        ChecksFailed: a law does not hold, or one that was expected to fail does; it carries the report.
        UserError: there is no check of that name.
    """
    return check(AugmentationSubject(target), LAWS, only, expected_failures, on_fail)
