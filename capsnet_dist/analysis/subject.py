"""What figures are drawn of: a network, images, and what it says about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.analysis import views
from capsnet_dist.errors import UserError
from capsnet_dist.objects import aligned
from capsnet_dist.plugins import Model


class NotShown(UserError):
    """This network, or these images, have nothing to show in a figure."""


@dataclass
class Subject:
    """What figures are drawn of.

    Args:
        model: The network.
        images: Some images for it.
        true: Their classes, where they are known.
        lines: The lines of metrics.jsonl of each run, under the name of what these runs have in common.
        reach: How far a number of a pose is moved down and up; 0.25 in the paper.
        rows: How many numbers of a pose are moved, at most: those that change the image most.
        counts: How many images of each true class were predicted as each class, where that is known of more images.
    """

    model: Model
    images: UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
    true: Int64[Tensor, "n *m"] | None
    lines: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]] = field(default_factory=dict)
    reach: float = 0.25
    rows: int = 16
    counts: Int64[Tensor, "true predicted"] | None = None

    @cached_property
    def seen(self) -> views.Seen:
        """What the network says about the images."""
        with self.model.evaluating():
            return views.look(self.model, self.images, self.true)

    @cached_property
    def moved(self) -> tuple[Float[np.ndarray, "d m c h w"], Float[np.ndarray, " m"]]:
        """The first image with each number of its pose moved, and the offsets.

        Raises:
            NotShown: the network rebuilds nothing.
        """
        offsets = torch.linspace(-self.reach, self.reach, 11)
        with self.model.evaluating():
            rebuilt = views.perturb(self.model, self.seen, offsets)
        if rebuilt is None:
            raise NotShown("the network has no decoder")
        return views.array(rebuilt), views.array(offsets)

    @property
    def labels(self) -> Int64[Tensor, "n *m"]:
        """The true classes, one for each image or several.

        Raises:
            NotShown: they are not known.
        """
        if self.seen.true is None:
            raise NotShown("the true classes of the images are not known")
        return self.seen.true

    @property
    def predicted(self) -> Int64[Tensor, "n *m"]:
        """The predicted classes, in the order of the true ones."""
        return aligned(self.seen.scores, self.labels)
