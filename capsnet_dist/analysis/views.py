"""What figures show of a network, as arrays: what it says about images, and what it rebuilds."""

from typing import NamedTuple

import numpy as np
import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from capsnet_dist.objects import aligned, is_right, likeliest
from capsnet_dist.plugins import Model, to_unit, without_images

BATCH = 128  # images at a time: a CPU keeps their maps in its cache
ENOUGH = 10  # images of a class, to say how they differ


class Seen(NamedTuple):
    """Images, and what a network says about them."""

    images: Float[Tensor, "b c h w"]
    """Pixels in [0, 1], on the network's device."""
    scores: Float[Tensor, "b j"]
    poses: Float[Tensor, "b j d"]
    true: Int64[Tensor, "b *m"] | None
    """Their classes, where they are known."""

    @property
    def predicted(self) -> Int64[Tensor, " b"]:
        """The class with the largest score."""
        return self.scores.argmax(dim=-1)

    @property
    def right(self) -> Bool[Tensor, " b"]:
        """Whether the prediction is true, or nobody knows better."""
        return is_right(self.scores, self.predicted if self.true is None else self.true)

    def select(self, indices: Int64[Tensor, " m"]) -> "Seen":
        """Some of them."""
        true = None if self.true is None else self.true[indices]
        return Seen(self.images[indices], self.scores[indices], self.poses[indices], true)


@torch.no_grad()
def look(model: Model, images: Tensor, true: Int64[Tensor, "b *m"] | None) -> Seen:
    """Classify images, uint8 or with pixels in [0, 1]."""
    parameter = next(model.parameters())
    unit = to_unit(images.to(parameter.device), parameter.dtype)
    with without_images():
        outputs = [model(part) for part in unit.split(BATCH)]
    scores, poses = torch.cat([said.scores for said in outputs]), torch.cat([said.poses for said in outputs])
    return Seen(unit, scores, poses, None if true is None else true.to(parameter.device))


class Rebuilt(NamedTuple):
    """Images that a network rebuilds from one class or another."""

    chosen: Int64[Tensor, " n"]
    """Which of the images."""
    targets: Int64[Tensor, " n"]
    """From which class."""
    images: Float[Tensor, "n c h w"]


@torch.no_grad()
def rebuild(model: Model, seen: Seen, num_right: int, num_wrong: int) -> Rebuilt | None:
    """Rebuild some images that are predicted right, of different classes first, and some wrong ones from both classes.

    Returns:
        None without a decoder.
    """
    right = _varied(seen, seen.right.nonzero()[:, 0])[:num_right]
    wrong = (~seen.right).nonzero()[:num_wrong, 0]
    twice = wrong.repeat_interleave(2)
    index = torch.cat([right, twice])
    targets = seen.predicted[index]
    if seen.true is not None:
        targets[len(right) + 1 :: 2] = seen.true[twice][1::2]
    images = model.rebuild(seen.poses[index], targets)
    return None if images is None else Rebuilt(index, targets, images)


class RebuiltObjects(NamedTuple):
    """The two objects of images, rebuilt from one pair of classes or another."""

    chosen: Int64[Tensor, " n"]
    """Which of the images."""
    targets: Int64[Tensor, "n 2"]
    """From which classes."""
    groups: Int64[Tensor, " n"]
    """0 where the prediction is right, 1 where it is wrong, 2 where a class is neither there nor predicted."""
    objects: Float[Tensor, "n 2 c h w"]


@torch.no_grad()
def rebuild_objects(model: Model, seen: Seen, num_right: int, num_wrong: int) -> RebuiltObjects | None:
    """Rebuild both objects of some images from the predicted classes; where these are wrong, from the true ones, too.

    Some of those that are right are rebuilt once more with the class of the third largest score in place of the second.

    Returns:
        None without a decoder.
    """
    assert seen.true is not None and seen.true.shape[1:] == (2,), "images of two objects, which are known"
    predicted = aligned(seen.scores, seen.true)
    right, wrong = seen.right.nonzero()[:num_right, 0], (~seen.right).nonzero()[:num_wrong, 0]
    twice, again = wrong.repeat_interleave(2), right[:num_wrong]
    chosen = torch.cat([right, twice, again])
    targets = predicted[chosen]
    targets[len(right) + 1 : len(right) + len(twice) : 2] = seen.true[wrong]
    if seen.scores.shape[1] > 2:
        targets[len(right) + len(twice) :, 1] = likeliest(seen.scores, 3)[again, 2]
    groups = torch.repeat_interleave(torch.arange(3), torch.tensor([len(right), len(twice), len(again)]))
    objects = model.rebuild(seen.poses[chosen], targets)
    return None if objects is None else RebuiltObjects(chosen, targets, groups, objects)


def _varied(seen: Seen, indices: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Images in an order in which each class comes once before any comes twice."""
    times: dict[int, int] = {}
    turns: list[tuple[int, int, int]] = []
    for index, label in zip(indices.tolist(), seen.predicted[indices].tolist(), strict=True):
        times[label] = times.get(label, 0) + 1
        turns.append((times[label], label, index))
    return torch.tensor([index for *_, index in sorted(turns)], dtype=torch.int64, device=indices.device)


@torch.no_grad()
def perturb(
    model: Model, seen: Seen, offsets: Float[Tensor, " m"], of: int | None = None
) -> Float[Tensor, "d m c h w"] | None:
    """The first image, rebuilt with each number of the pose of a class moved; None without a decoder.

    Args:
        model: The network.
        seen: What it says about images.
        offsets: How far a number is moved.
        of: The class; the predicted one if not given.
    """
    poses, dim = seen.poses[:1], seen.poses.shape[-1]
    moves = einsum(torch.eye(dim).to(poses), offsets.to(poses), "r d, m -> r m d")
    moved = poses + rearrange(moves, "r m d -> (r m) 1 d")
    label = seen.predicted[:1] if of is None else torch.full_like(seen.predicted[:1], of)
    rebuilt = model.rebuild(moved, label.expand(len(moved)))
    return None if rebuilt is None else rearrange(rebuilt, "(r m) c h w -> r m c h w", r=dim)


def usual(seen: Seen) -> Float[Tensor, "2 d"] | None:
    """How far the numbers of the first image's pose are from the 2nd and 98th percentile among images of its class.

    Returns:
        None where there are fewer than ten images of it.
    """
    first = int(seen.predicted[0])
    found = usual_poses(seen, first)
    return None if found is None else found - seen.poses[0, first]


def usual_poses(seen: Seen, of: int) -> Float[Tensor, "2 d"] | None:
    """Between which values the numbers of a class's pose lie in 96 % of its images; None where they are few."""
    poses = seen.poses[seen.predicted == of][:, of]
    return ends(poses) if len(poses) >= ENOUGH else None


def ends(poses: Float[Tensor, "b d"]) -> Float[Tensor, "2 d"]:
    """The 2nd and the 98th percentile of each number of some poses."""
    return torch.quantile(poses.double(), torch.tensor([0.02, 0.98]).to(poses).double(), dim=0)


def array(tensor: Tensor) -> np.ndarray:
    """A tensor for a figure: float32 or integers, in memory of the host."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
