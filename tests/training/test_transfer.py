"""--weights takes what fits of a trained network, names what begins anew, and refuses what has nothing in common."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from test_networks_matrix import SMALL as SMALL_MATRIX
from test_networks_vector import SMALL
from test_train import RUN, trained

from capsnet_dist import UserError, build, decoders, load, models, save
from capsnet_dist.run import check
from capsnet_dist.training.transfer import take_weights

NETWORKS = {"capsnet": RUN.model.options} | SMALL | SMALL_MATRIX
FULL = {"decoder": decoders("masked", hidden=(8, 8))}


def network(name, classes, seed, **options):
    torch.manual_seed(seed)
    return build(models(name, **NETWORKS[name] | options), (2, 20, 20), tuple("abcdefghij"[:classes]))


def differing(model, other):
    """Names of the tensors that differ."""
    held = other.state_dict()
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, held[name])}


@pytest.mark.parametrize("name", sorted(models))
def test_parts_that_depend_on_the_number_of_classes_begin_anew_and_all_others_are_taken(name):
    save(source := network(name, 3, seed=1), "source")
    take_weights("source", alike := network(name, 3, seed=2))
    assert not differing(alike, source)
    take_weights("source", model := network(name, 5, seed=2))
    new, fresh = model.state_dict(), network(name, 5, seed=2)
    taken = {key for key, x in source.state_dict().items() if x.shape == new[key].shape and torch.equal(x, new[key])}
    anew = new.keys() - differing(model, fresh)
    assert taken and anew and taken | anew == new.keys()
    wide = {key for key, tensor in new.items() if tensor.shape != source.state_dict()[key].shape}
    assert wide and wide <= anew


def test_a_decoder_begins_anew_as_a_whole_and_what_is_new_is_said(capsys):
    save(network("capsnet", 3, seed=1, **FULL), "source")
    take_weights("source", model := network("capsnet", 5, seed=2, **FULL))
    left = model.state_dict().keys() - differing(model, network("capsnet", 5, seed=2, **FULL))
    assert {key.split(".")[0] for key in left} == {"class_capsules", "decoder"}
    sizes = [p.numel() for key, p in model.named_parameters() if key.split(".")[0] not in ("class_capsules", "decoder")]
    told = capsys.readouterr().err
    assert f"--weights source: {sum(sizes):,} of " in told and " Anew: class_capsules.weight, decoder." in told


def test_shapes_that_differ_for_another_reason_cost_only_their_own_tensors(capsys):
    save(source := network("capsnet", 3, seed=1, decoder=decoders("none")), "source")
    take_weights("source", model := network("capsnet", 3, seed=2, decoder=decoders("none"), dim=6))
    assert differing(model, source) == {"class_capsules.weight"}
    take_weights("source", network("capsnet", 3, seed=2, **FULL))
    assert "Anew: decoder." in capsys.readouterr().err


def test_a_network_with_nothing_in_common_is_refused():
    save(network("capsnet", 3, seed=1), "source")
    with pytest.raises(UserError, match="--weights source: none of its weights has the name and shape"):
        take_weights("source", network("cnn", 3, seed=2))
    with pytest.raises(UserError, match="No such folder: absent"):
        take_weights("absent", network("cnn", 3, seed=2))
    with pytest.raises(UserError, match="--start a and --weights b: a training starts from one of them"):
        check(replace(RUN, start="a", weights="b"), 1)


def test_a_training_starts_from_the_weights_and_its_card_says_so():
    torch.manual_seed(1)
    save(source := build(RUN.model, (1, 8, 8), tuple("abc"), normalization="image"), "source")
    run_ranks(1, trained, replace(RUN, weights="source", lr=1e-12, ema=0.0, steps=1))
    torch.testing.assert_close(load("run").conv.weight, source.conv.weight, rtol=0, atol=1e-6)
    assert "from the weights of `source`, as far as they fit." in Path("run/README.md").read_text()
    assert len(load("run").classes) == 10
