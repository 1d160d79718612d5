"""What a network says of changed images, batch by batch."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from capsnet_dist.data.order import draws, key
from capsnet_dist.objects import is_right
from capsnet_dist.plugins import Augmentation, Model, Split, to_unit, without_images
from capsnet_dist.robustness.attacks import Scores, Victims, other_classes
from capsnet_dist.robustness.rejection import unexplained

SHOWN = 10  # changed images that are kept for a picture

Change = Callable[[UInt8[Tensor, "b c h w"], Int64[Tensor, " b"]], UInt8[Tensor, "b c y x"]]
"""Changes pictures, given their numbers in the data set."""
Attack = Callable[[Scores, Victims], Float[Tensor, "b c h w"]]
"""Changes pixels in [0, 1] of a network's images."""


Key = tuple[str, str, float | None]
"""Which change: its kind, its name, and how strong it is."""
UNCHANGED: Key = ("unchanged", "unchanged", None)


class Tried(NamedTuple):
    """What became of all images under one change."""

    right: Bool[Tensor, " n"]
    """Whether the network is right; of targeted attacks, whether it says what it was to say."""
    shown: Float[Tensor, "m c h w"]
    """The first of them, changed."""
    errors: Float[Tensor, " n"] | None
    """How much of each the network does not rebuild; None where it rebuilds nothing, or images have several objects."""

    @property
    def share(self) -> float:
        """How many of them."""
        return self.right.float().mean().item()


@dataclass(frozen=True)
class Trial:
    """A network and the images that it is tried on.

    Args:
        model: The network, in evaluation mode.
        split: The images, as the data set has them.
        numbers: Their numbers there, from which all follows that is random.
        still: What of an image the network sees.
        batch_size: How many are computed together.
        done: Called after each batch.
    """

    model: Model
    split: Split
    numbers: Int64[Tensor, " n"]
    still: Callable[[Tensor], Tensor] = lambda images: images
    batch_size: int = 128
    done: Callable[[], object] = lambda: None

    @property
    def num_batches(self) -> int:
        """How many times `done` is called for one change."""
        return -(-len(self.numbers) // self.batch_size)

    def changed(self, change: Change) -> Tried:
        """Change the pictures, before what the network sees is cut out of them."""
        return self._tried(lambda images, victims: self._seen(change(images, victims.numbers)))

    def attacked(self, attack: Attack, *, seed: int | None = None) -> Tried:
        """Attack the pixels that the network sees, but for those where nothing is left to do.

        An image that the network gets wrong as it is lies within every eps, and no attack makes it right.

        Args:
            attack: The attack.
            seed: Where it is targeted: what the targets follow from.
        """

        def change(images: Tensor, victims: Victims) -> Float[Tensor, "b c h w"]:
            is_done = rearrange(victims.lead(self.scores(victims.images)) > 0, "b -> b 1 1 1")
            return torch.where(is_done, victims.images, attack(self.scores, victims))

        with self._without_weights():
            return self._tried(change, seed)

    def scores(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b j"]:
        """The network's scores, without its reconstructions."""
        with without_images():
            return self.model(images).scores

    def _seen(self, images: UInt8[Tensor, "b c h w"]) -> Float[Tensor, "b c y x"]:
        return to_unit(self.still(images), next(self.model.parameters()).dtype)

    def _tried(
        self, change: Callable[[Tensor, Victims], Float[Tensor, "b c h w"]], target_seed: int | None = None
    ) -> Tried:
        right: list[Tensor] = []
        shown: list[Tensor] = []
        errors: list[Tensor] = []
        device = next(self.model.parameters()).device
        with self.model.evaluating(), torch.no_grad():
            for rows in torch.arange(len(self.numbers)).split(self.batch_size):
                part = self.split.select(rows).to(device)
                images, labels = part.pixels, part.labels
                victims = Victims(self._seen(images), labels, self.numbers[rows].to(device))
                if target_seed is not None:
                    drawn = victims.uniform(target_seed, -1, 1)[:, 0]
                    victims = victims._replace(labels=other_classes(labels, drawn, len(self.model.classes)))
                    victims = victims._replace(is_targeted=True)
                found = change(images, victims)
                output = self.model(found)
                right.append(is_right(output.scores, victims.labels).cpu())
                shown += [found[: max(0, SHOWN - len(torch.cat(shown)) if shown else SHOWN)].float().cpu()]
                if output.reconstruction is not None and labels.ndim == 1:
                    errors.append(unexplained(found, output.reconstruction).cpu())
                self.done()
        return Tried(torch.cat(right), torch.cat(shown), torch.cat(errors) if errors else None)

    @contextmanager
    def _without_weights(self) -> Generator[None]:
        """Let gradients be those of the pixels alone: weights need none, and have theirs of before afterwards."""
        wanted = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        for parameter in wanted:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in wanted:
                parameter.requires_grad_(True)


def augmented(augmentation: Augmentation, seed: int) -> Change:
    """A random change that follows from a seed and the number of an image, as in training."""

    def change(images: UInt8[Tensor, "b c h w"], numbers: Int64[Tensor, " b"]) -> UInt8[Tensor, "b c y x"]:
        return augmentation(images, draws(key(seed, 0).to(numbers.device), numbers, augmentation.num_draws))

    return change


def chosen(split: Split, limit: int, seed: int) -> Int64[Tensor, " n"]:
    """At most so many images of a split, in its order, each as likely as any other: it may be sorted by class."""
    number = len(split.labels)
    order = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    return order[:limit].sort().values
