"""One place tells rank and number of processes, whoever has started them, and says in one line what makes no sense."""

import pytest

from capsnet_dist import UserError
from capsnet_dist.world import Place, place, rank, speaks, world_size

MPI = {
    "MPICH": ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    "Open MPI": (
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    "MVAPICH": ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"),
    "torchrun": ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
}


def put(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("names", MPI.values(), ids=MPI)
def test_every_launcher_tells_the_place_of_a_process(names, monkeypatch):
    put(monkeypatch, **dict(zip(names, (3, 4, 1, 2), strict=True)))
    assert place() == Place(rank=3, world_size=4, local_rank=1, local_world_size=2)
    assert (rank(), world_size(), speaks()) == (3, 4, False)


def test_without_a_launcher_a_process_is_alone():
    assert place() == Place(0, 1, 0, 1) and speaks()


def test_a_launcher_within_another_comes_first(monkeypatch):
    put(monkeypatch, PMI_RANK=1, PMI_SIZE=2, RANK=6, WORLD_SIZE=8, LOCAL_RANK=2)
    assert place() == Place(6, 8, 2, None)


def test_as_for_accelerate_a_negative_number_is_none(monkeypatch):
    put(monkeypatch, RANK=-1, WORLD_SIZE=-1, LOCAL_RANK=-1)
    assert place() == Place(0, 1, 0, 1)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_processes_that_meet_on_this_machine_are_all_here(address, monkeypatch):
    put(monkeypatch, RANK=1, WORLD_SIZE=2, MASTER_ADDR=address)
    assert place() == Place(1, 2, 1, 2)
    put(monkeypatch, MASTER_ADDR="10.0.0.1")
    assert place() == Place(1, 2, None, None)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": ""}, r"WORLD_SIZE='': must be an integer"),
        ({"WORLD_SIZE": "two"}, r"WORLD_SIZE='two': must be an integer"),
        ({"WORLD_SIZE": "2.0"}, r"WORLD_SIZE='2.0': must be an integer"),
        ({"WORLD_SIZE": "0"}, r"WORLD_SIZE=0: must be at least 1 process"),
        ({"WORLD_SIZE": "2"}, r"WORLD_SIZE=2, but RANK is not set"),
        ({"RANK": "x", "WORLD_SIZE": "2"}, r"RANK='x': must be an integer"),
        ({"RANK": "3"}, r"RANK=3, WORLD_SIZE=1: must be .* below that"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, r"RANK=2, WORLD_SIZE=2: must be .* below that"),
        ({"LOCAL_RANK": ""}, r"LOCAL_RANK='': must be an integer"),
        ({"LOCAL_WORLD_SIZE": "all"}, r"LOCAL_WORLD_SIZE='all': must be an integer"),
        ({"OMPI_COMM_WORLD_RANK": "first"}, r"OMPI_COMM_WORLD_RANK='first': must be an integer"),
    ],
)
def test_what_makes_no_sense_is_said_with_variable_value_and_rule(variables, message, monkeypatch):
    put(monkeypatch, **variables)
    with pytest.raises(UserError, match=message) as told:
        place()
    assert "\n" not in str(told.value)


def test_where_nobody_can_tell_its_rank_each_process_speaks(monkeypatch):
    put(monkeypatch, RANK="x")
    assert speaks()
