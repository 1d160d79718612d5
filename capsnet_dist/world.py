"""Which process this is, and of how many: as whoever started them says or, once they have met, as they met."""

import os
from typing import NamedTuple

from torch import distributed

from capsnet_dist.errors import Misplaced

# What torchrun, MPICH, Open MPI and MVAPICH call it, in the order in which Accelerate looks.
RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
WORLD_SIZE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
LOCAL_RANK = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")
LOCAL_WORLD_SIZE = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


class Place(NamedTuple):
    """The place of a process among those that train together."""

    rank: int
    world_size: int
    local_rank: int | None
    """Among those of its machine; None where nothing tells."""
    local_world_size: int | None
    """How many those are."""


def place() -> Place:
    """The place of this process.

    Raises:
        Misplaced: the variables of the launcher are no numbers, or contradict each other.
    """
    size = world_size()
    if size > 1 and not have_met() and number(RANK) is None:
        raise Misplaced(f"WORLD_SIZE={size}, but RANK is not set: a launcher sets both. Unset it to train alone.")
    if size < 1 or rank() >= size:
        raise Misplaced(f"RANK={rank()}, WORLD_SIZE={size}: must be at least 1 process, each with a rank below that.")
    local_rank, local_size = number(LOCAL_RANK), number(LOCAL_WORLD_SIZE)
    if size == 1 or os.environ.get("MASTER_ADDR") in THIS_MACHINE:  # all of them are here
        local_rank, local_size = rank() if local_rank is None else local_rank, local_size or size
    return Place(rank(), size, local_rank, local_size)


def rank() -> int:
    """The number of this process, counted from 0.

    Raises:
        Misplaced: the variable that tells it holds no number.
    """
    return distributed.get_rank() if have_met() else number(RANK) or 0


def world_size() -> int:
    """How many processes train together.

    Raises:
        Misplaced: the variable that tells it holds no number.
    """
    if have_met():
        return distributed.get_world_size()
    size = number(WORLD_SIZE)
    return 1 if size is None else size


def speaks() -> bool:
    """Whether this process speaks for all of them; where nobody can tell, each does."""
    try:
        return rank() == 0
    except Misplaced:
        return True


def have_met() -> bool:
    """Whether the processes are joined, by a training or by whoever called it."""
    return distributed.is_available() and distributed.is_initialized()


def number(names: tuple[str, ...]) -> int | None:
    """The first of some variables that is set; as for Accelerate, a negative number is none.

    Raises:
        Misplaced: it holds no number.
    """
    for name in names:
        value = os.environ.get(name, "-1")
        try:
            found = int(value)
        except ValueError as error:
            raise Misplaced(f"{name}={value!r}: must be an integer, as a launcher sets it, or unset.") from error
        if found >= 0:
            return found
    return None
