"""Weights load exactly or not at all, with one message."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from capsnet_dist import UserError, build, load, models, save

SMALL = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3)


@pytest.fixture
def folder():
    save(build(SMALL, (1, 8, 8), tuple("abc")), "saved")
    return Path("saved")


def rewrite(folder, change):
    state = change(load_file(folder / "model.safetensors"))
    from capsnet_dist.weights import digest

    save_file(state, folder / "model.safetensors", metadata={"sha256": digest(state)})


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_load_gives_the_network_that_was_saved():
    model = build(SMALL, (1, 8, 8), tuple("abc"))
    save(model, "saved")
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(load("saved").predict(images).scores, model.predict(images).scores)
    assert load("saved").classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: rewrite(d, lambda s: {k: v for k, v in s.items() if k != "conv.bias"}), "conv.bias is missing"),
        (lambda d: rewrite(d, lambda s: s | {"more": torch.zeros(1)}), "more is not part"),
        (lambda d: edit(d, classes=["a", "b"]), r"\(72|\(\d+, 3, 16, 8\) in the file and \(\d+, 2, 16, 8\)"),
        (lambda d: edit(d, format=99), "format 1"),
        (lambda d: edit(d, image=[1, 8]), "channels, height and width"),
        (lambda d: edit(d, model={"name": "capsnet", "kernell": 3}), "kernell.*Did you mean 'kernel'"),
        (lambda d: edit(d, model={"name": "capsnet", "routing": {"name": "my_em"}}), "my_em.*install or import"),
        (lambda d: (d / "config.json").unlink(), "config.json cannot be read"),
        (lambda d: (d / "model.safetensors").unlink(), "is missing"),
        (lambda d: (d / "model.safetensors").write_bytes(b"version https://git-lfs"), "git lfs pull"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\x80\x04pickle"), "damaged or no safetensors"),
        (lambda d: (d / "model.safetensors").write_bytes(b""), "damaged or no safetensors"),
    ],
)
def test_every_fault_has_one_message(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message):
        load(folder)


def test_one_flipped_bit_and_a_missing_half_are_noticed(folder):
    file = folder / "model.safetensors"
    whole = bytearray(file.read_bytes())
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load(folder)
    whole[-5] ^= 1
    file.write_bytes(whole)
    with pytest.raises(UserError, match="checksum"):
        load(folder)


def test_no_folder_is_said():
    with pytest.raises(UserError, match="No such folder"):
        load("absent")
