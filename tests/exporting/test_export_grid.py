"""Networks with other routings than their own: ONNX says the same, or the message names the part that it lacks."""

import pytest
from exported import NETWORKS, export, export_several, network

from capsnet_dist import UserError, layers, models, routings

pytestmark = pytest.mark.slow

WITHOUT_ONNX = {"variational_bayes"}
CHOOSING = {name: {"routing", "class_routing"} & models.options(name).keys() for name in NETWORKS}
"""By network, its options that choose a routing."""
ROUTED = sorted(name for name in NETWORKS if CHOOSING[name] or name == "stack")


def routed(name, routing):
    """A network with one routing everywhere; None where it does not take it."""
    choice = routings(routing, **({"iterations": 2} if "iterations" in routings.options(routing) else {}))
    given = dict.fromkeys(CHOOSING[name], choice)
    if name == "stack":
        given = {"layers": (layers("dense", wholes=3, dim=4, routing=choice),)}
    try:
        return network(name, **given)
    except UserError as error:
        assert repr(routing) in str(error)  # which says why
        return None


def some_of(name):
    """All routings of `stack`; of another network every third that it takes, in turn."""
    taken = {routing: model for routing in routings if (model := routed(name, routing)) is not None}
    return taken if name == "stack" else dict([*taken.items()][ROUTED.index(name) % 3 :: 3])


def test_each_routing_meets_several_networks():
    met = [routing for name in ROUTED for routing in some_of(name)]
    assert all(met.count(routing) > 1 for routing in routings if routings.owner(routing).startswith("capsnet_dist "))


@pytest.mark.parametrize("name", ROUTED)
def test_a_routing_that_a_network_takes_is_exported_or_refused_by_its_part(name, tmp_path):
    found = some_of(name)
    for routing in found.keys() & WITHOUT_ONNX:
        with pytest.raises(UserError, match=r"digamma, which .* \(VariationalBayesRouting\) computes"):
            export(found.pop(routing), tmp_path / "refused.onnx", "onnx")
    export_several(found, tmp_path / "all.onnx")
    assert [*tmp_path.iterdir()] == [tmp_path / "all.onnx"]
