"""Sizes are known before anything is built: printed, said when out of proportion, refused when they cannot fit."""

import json
from dataclasses import replace

import pytest
import torch
from conftest import run_ranks
from test_cli import refused, said
from test_train import RUN

from capsnet_dist import UserError, build, models
from capsnet_dist.commands import plugins
from capsnet_dist.saved import size
from capsnet_dist.train import train
from capsnet_dist.training import network

SMALL = models("cnn", channels=(4,), kernels=(3,), hidden=(8,))


def test_the_size_is_that_of_the_network_that_is_built():
    model = build(SMALL, (1, 8, 8), ("a", "b"))
    counts = {name: parameter.numel() for name, parameter in model.named_parameters()}
    found = size.measure(SMALL, (1, 8, 8), 2)
    assert found.parameters == sum(counts.values()) and counts[found.largest] == max(counts.values())
    assert (found.weights, found.training) == (4 * found.parameters, 20 * found.parameters)
    assert size.measure(models("capsnet"), (3, 224, 224), 20).parameters == 1_046_398_720  # and takes no memory


def test_a_step_is_measured_without_numbers():
    small, large = (size.step_memory(SMALL, (1, side, side), 2) for side in (8, 16))
    assert 4 * 4 * 36 < small < large


@pytest.mark.parametrize("name", sorted(models))
def test_the_memory_of_a_step_is_known_or_said_to_be_unknown(name):
    found = size.step_memory(models(name), (1, 28, 28), 3)
    assert found is None or found > 4 * 28 * 28


def test_each_network_has_a_row_also_where_images_are_too_small(monkeypatch):
    monkeypatch.setattr(plugins, "step_memory", lambda *network: None)  # seconds for each
    code, out, err = said("plugins", "model", "--image", "1,8,8", "--classes", "3", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "") and rows.keys() == set(models)
    assert "8x8 pixels are too small" in rows["capsnet"]["error"] and rows["cnn"]["parameters"] > 1000
    assert said("plugins", "model", "--image", "1,28,28")[1].count("\n") == 1 + len(rows)
    assert "--image 1,8: must be channels, height and width" in refused("plugins", "model", "--image", "1,8")
    assert "is for networks" in refused("plugins", "--image", "1,8,8")


def started(run):
    """The message with which a training is refused."""
    with pytest.raises(UserError) as refusal:
        train(run)
    return str(refusal.value)


def test_a_network_that_cannot_fit_is_refused_before_it_is_built(monkeypatch):
    monkeypatch.setattr(network, "total_memory", lambda device: 1000)
    message = run_ranks(1, started, replace(RUN, model=SMALL, steps=1))
    assert "weights and gradients take" in message and "cnn for images of 1x8x8 and 10 classes has" in message


def test_a_network_out_of_proportion_is_said(monkeypatch, capsys):
    monkeypatch.setattr(network, "LARGE", 100)
    network._check_size(replace(RUN, model=SMALL), (1, 8, 8), 10, torch.device("cpu"))
    said = capsys.readouterr().err
    assert "Warning: cnn for images of 1x8x8 and 10 classes has" in said and "--model.pooling 2" in said


def test_the_baseline_at_its_own_size_is_in_proportion_and_for_colour_pictures_is_not():
    assert size.measure(models("cnn"), (1, 28, 28), 10).parameters < size.LARGE
    assert size.measure(models("cnn"), (3, 32, 32), 10).parameters > size.LARGE
    assert size.measure(models("cnn", pooling=2), (3, 32, 32), 10).parameters < size.LARGE / 10
