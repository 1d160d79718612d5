"""Rows of a pose that share a matrix, for code that knows vectors only: they join the batch."""

from typing import Protocol, runtime_checkable

from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class VotesBackend(Protocol):
    """The derivatives of f = sum_bij c_ij v_j . W_ij u_i."""

    def combine(self, poses: Tensor, weight: Tensor, coupling: Tensor) -> Tensor:
        """By v."""
        ...

    def agreement(self, poses: Tensor, weight: Tensor, vectors: Tensor) -> Tensor:
        """By c."""
        ...

    def input_gradients(
        self, poses: Tensor, weight: Tensor, coupling: Tensor, vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """By u and W."""
        ...


class Folded:
    """The same for poses with rows, by repeating the couplings for each row."""

    def __init__(self, votes: VotesBackend) -> None:
        self.votes = votes

    def combine(
        self, poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"], coupling: Float[Tensor, "b i j"]
    ) -> Float[Tensor, "b r j d"]:
        """By v."""
        rows = poses.shape[2]
        total = self.votes.combine(_fold(poses), weight, _each_row(coupling, rows))
        return rearrange(total, "(b r) j d -> b r j d", r=rows)

    def agreement(
        self, poses: Float[Tensor, "b i r p"], weight: Float[Tensor, "i j d p"], vectors: Float[Tensor, "b r j d"]
    ) -> Float[Tensor, "b i j"]:
        """By c."""
        found = self.votes.agreement(_fold(poses), weight, rearrange(vectors, "b r j d -> (b r) j d"))
        return reduce(found, "(b r) i j -> b i j", "sum", r=poses.shape[2])

    def input_gradients(
        self,
        poses: Float[Tensor, "b i r p"],
        weight: Float[Tensor, "i j d p"],
        coupling: Float[Tensor, "b i j"],
        vectors: Float[Tensor, "b r j d"],
    ) -> tuple[Float[Tensor, "b i r p"], Float[Tensor, "i j d p"]]:
        """By u and W."""
        rows, v = poses.shape[2], rearrange(vectors, "b r j d -> (b r) j d")
        gu, gW = self.votes.input_gradients(_fold(poses), weight, _each_row(coupling, rows), v)
        return rearrange(gu, "(b r) i p -> b i r p", r=rows), gW


def _fold(poses: Float[Tensor, "b i r p"]) -> Float[Tensor, "br i p"]:
    return rearrange(poses, "b i r p -> (b r) i p")


def _each_row(coupling: Float[Tensor, "b i j"], rows: int) -> Float[Tensor, "br i j"]:
    return repeat(coupling, "b i j -> (b r) i j", r=rows)
