"""A data set in a file: the training is that from memory, even after a kill, and every damage is one message."""

import contextlib
import errno
import json
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks, start_ranks
from PIL import Image
from safetensors import safe_open
from test_cli import said
from test_resume import history, train_until
from test_train import RUN, trained

from capsnet_dist import Split, UserError, datasets
from capsnet_dist.analysis.diagnosis import diagnose
from capsnet_dist.commands.evaluate import evaluate
from capsnet_dist.data import pictures as decoding
from capsnet_dist.data import store
from capsnet_dist.images import stored
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.stored import Stored
from capsnet_dist.run import Checkpoints
from capsnet_dist.saved.weights import load
from capsnet_dist.train import train

FIT = Fit(size=8, channels=1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two classes of 40 pictures of noise, brighter on the one or the other side."""
    root, shades = tmp_path_factory.mktemp("root"), np.random.default_rng(0)
    for name, bright in (("left", slice(0, 4)), ("right", slice(4, 8))):
        (root / name).mkdir()
        for number in range(40):
            pixels = shades.integers(0, 120, (8, 8), np.uint8)
            pixels[:, bright] += 100
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


@pytest.fixture
def in_a_file(monkeypatch):
    """No split is small enough for memory."""
    monkeypatch.setattr(store, "RESIDENT", 0)


def choice(root, cache="cache"):
    return datasets("folder", root=root, cache=Path(cache), **FIT._asdict())


def split(root, name="train"):
    return choice(root).build().split(name)


def run_on(root, folder):
    checkpoint = Checkpoints(every=4, keep=2)
    return replace(
        RUN, data=choice(root), run_dir=Path(folder), steps=12, checkpoint=checkpoint, resume="auto", validation=0.2
    )


def test_a_file_gives_the_pixels_and_labels_that_memory_holds(root, monkeypatch):
    held = split(root)
    monkeypatch.setattr(store, "RESIDENT", 0)
    kept = split(root)
    assert held.is_resident and not kept.is_resident and isinstance(kept.images, Stored)
    assert kept.images.shape == held.images.shape and torch.equal(kept.images[:], held.images)
    assert torch.equal(kept.labels, held.labels)
    some = torch.tensor([5, 0, 5, 33])
    for one, other in zip(kept.select(some), held.select(some), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(kept.part(some).part(torch.tensor([3, 1])).images[:], held.images[[33, 0]])
    assert torch.equal(kept.to(torch.device("cpu")).images[2:4], held.images[2:4])
    assert Split(*(part[:7] for part in kept)).images.shape == (7, 1, 8, 8)


def test_another_reader_of_safetensors_reads_the_file(root):
    (root / "left/broken.png").write_text("no picture")
    data = datasets("folder", root=root, cache=Path("cache"), skip_broken=True, share=0.0, **FIT._asdict()).build()
    held = data.split("train")
    (root / "left/broken.png").unlink()
    (file,) = Path("cache").glob("*.safetensors")
    with safe_open(file, "pt") as opened:
        assert torch.equal(opened.get_tensor("images"), held.images)
        assert torch.equal(opened.get_tensor("labels"), held.labels)
        assert len(opened.get_tensor("skipped")) == 1 and len(held.labels) == 80
        assert json.loads(opened.metadata()["classes"]) == ["left", "right"]
        assert json.loads(opened.metadata()["fit"]) == FIT._asdict()


def test_pictures_are_decoded_once_and_again_where_they_or_the_fit_change(root, monkeypatch):
    split(root)
    (file,) = Path("cache").glob("*.safetensors")
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(decoding, "_decode", None)
        split(root)
        assert len(split(root, "test").labels) == 16
    os.utime(root / "left/0.png", ns=(1, 1))
    split(root)
    datasets("folder", root=root, cache=Path("cache"), size=9).build().split("test")
    assert len(list(Path("cache").glob("*.safetensors"))) == 3 and file.read_bytes() == before


@pytest.mark.parametrize(("world", "accumulation"), [(1, 2), (2, 1)])
def test_a_training_from_a_file_is_that_from_memory_and_goes_on_bit_for_bit(root, in_a_file, world, accumulation):
    run = replace(run_on(root, "run"), accumulation=accumulation)
    for process in start_ranks(world, train_until, run, 6, signal.SIGKILL):
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
    run_ranks(world, train, run)
    store.RESIDENT = 2**28
    run_ranks(world, train, replace(run, run_dir=Path("memory")))
    assert history(Path("run")) == history(Path("memory"))


def test_processes_follow_one_trajectory_from_a_file(root, in_a_file):
    run = replace(run_on(root, "one"), resume=None, dtype="float64")
    alone, evaluated = run_ranks(1, trained, run)
    several, last = run_ranks(2, trained, replace(run, run_dir=Path("two")))
    torch.testing.assert_close(several, alone, rtol=1e-12, atol=1e-12)
    assert last["accuracy"] == evaluated["accuracy"]


def test_a_network_is_evaluated_and_diagnosed_from_a_file_as_from_memory(root, monkeypatch, capsys):
    run_ranks(1, train, replace(run_on(root, "run"), steps=3))
    said = []
    for limit in (2**28, 0):
        monkeypatch.setattr(store, "RESIDENT", limit)
        evaluate("run", data=choice(root), json=True)
        said.append((capsys.readouterr().out, diagnose(load("run"), split(root, "test"))))
    assert said[0] == said[1]


def test_changed_pixels_are_said_when_a_run_is_resumed(root, capsys):
    train(replace(run_on(root, "run"), steps=4))
    (file,) = Path("cache").glob("*.safetensors")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="environment.pixels: '[0-9a-f]{32}' before, '[0-9a-f]{32}' now"):
        train(replace(run_on(root, "run"), steps=6, strict_resume=True))


def own_pixels(root):
    """A training whose processes have a cache each, of which one was changed."""
    rank = os.environ["RANK"]
    run = replace(run_on(root, "run"), data=choice(root, f"cache-{rank}"))
    run.data.build().split("train")
    if rank == "1":
        (file,) = Path("cache-1").glob("*.safetensors")
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    try:
        train(run)
    except UserError as error:
        return str(error)


def test_processes_with_other_pixels_are_refused(root):
    assert "processes 1 have other pixels or labels than process 0" in run_ranks(2, own_pixels, root)


def build(root, slow):
    """Decode, so slowly that a signal comes in between."""
    original = decoding._decode
    decoding._decode = lambda *rest: (time.sleep(slow), original(*rest))[1]
    choice(root).build().split("train")


def start(root, slow):
    process = multiprocessing.get_context("fork").Process(target=build, args=(root, slow))
    process.start()
    return process


def wait_for(pattern):
    while not list(Path("cache").glob(pattern)):
        time.sleep(0.01)


def test_a_builder_that_is_killed_leaves_nothing_that_is_taken_for_whole(root):
    split(root)
    (file,) = Path("cache").glob("*.safetensors")
    whole = file.read_bytes()
    file.unlink()
    builder = start(root, 0.05)
    wait_for("*.part")
    waiting = start(root, 0.0)  # for the one that is killed
    os.kill(builder.pid, signal.SIGKILL)
    builder.join(30)
    waiting.join(30)
    assert waiting.exitcode == 0 and file.read_bytes() == whole
    assert not list(Path("cache").glob("*.part"))


def test_of_several_that_ask_one_builds(root, capfd):
    builders = [start(root, 0.005) for _ in range(3)]
    for builder in builders:
        builder.join(60)
        assert builder.exitcode == 0
    assert len(list(Path("cache").glob("*.safetensors"))) == 1


def test_who_waited_for_one_that_failed_fails_alike(root, monkeypatch):
    name, began = Path("cache/x.failed"), time.time()
    name.parent.mkdir()
    name.write_text("5 of 21 files")
    with pytest.raises(UserError, match="5 of 21 files"):
        store._share_failure(name, began - 1)
    store._share_failure(name, time.time() + 60)
    assert not name.exists()


def test_a_full_disk_is_said_at_once_and_nothing_is_left(root, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    message = "cache cannot take the decoded images: No space left on device. Name another folder: --data.cache."
    with pytest.raises(UserError, match=message):
        split(root)
    assert not list(Path("cache").glob("*.part")) and not list(Path("cache").glob("*.safetensors"))


def test_a_file_system_without_fsync_takes_the_pictures(root, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unknown)
    assert len(split(root).labels) == 64


def test_a_file_that_is_cut_short_or_damaged_is_one_message(root, in_a_file):
    kept = split(root)
    file = kept.images.file
    content = file.read_bytes()
    file.write_bytes(content[:-100])
    with pytest.raises(UserError, match="ends before image 79: delete it, and it is made again"):
        kept.images[-1:]
    for damaged in (content[:-100], content[:30], b"", content[:8] + b"[" + content[9:], content + b"more 8 b"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="is damaged: .*[dD]elete it"):
            split(root)


def test_memory_stays_flat_however_many_images_are_read(tmp_path):
    image = (3, 128, 128)
    count, size = 2000, 3 * 128 * 128
    with (tmp_path / "large").open("wb") as data:
        data.truncate(count * size)
    images = Stored(tmp_path / "large", image, 0, torch.arange(count), "")
    images[:64]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for at in range(0, count, 64):
        images[at : at + 64]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # of 96 MiB


def test_images_that_lie_together_are_read_by_one_call(tmp_path, monkeypatch):
    held = torch.randint(256, (9, 1, 4, 4), dtype=torch.uint8)
    (tmp_path / "pixels").write_bytes(held.numpy().tobytes())
    images, calls = Stored(tmp_path / "pixels", (1, 4, 4), 0, torch.arange(9), ""), []
    monkeypatch.setattr(stored, "read_at", lambda *given, read=stored.read_at: calls.append(given) or read(*given))
    for rows, number in (([0, 1, 2, 3], 1), ([2, 3, 5], 3), ([3, 2, 1], 3), ([1, 1, 3], 3), ([7], 1), ([], 0)):
        calls.clear()
        assert torch.equal(images[torch.tensor(rows, dtype=torch.int64)], held[rows]) and len(calls) == number
    with pytest.raises(UserError, match="ends before image 9:"):
        Stored(tmp_path / "pixels", (1, 4, 4), 0, torch.arange(12), "")[:]


def test_descriptors_are_given_back(root, in_a_file):
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else None
    for _ in range(5):
        split(root).part(torch.arange(3)).to(torch.device("cpu"))
    with contextlib.suppress(FileNotFoundError):
        assert len(os.listdir("/proc/self/fd")) == opened


def test_prepare_decodes_checks_and_counts(root, monkeypatch):
    words = ["prepare", "--data.root", root, "--data.cache", "cache", "--data.size", 8, "--data.channels", 1]
    code, out, err = said(*words)
    assert (code, err) == (0, "") and "train, 64 images, 1x8x8" in out and "test, 16 images" in out
    assert out.splitlines()[1].split() == ["left", "32", "8"]
    monkeypatch.setattr(decoding, "_decode", None)
    split(root)
    monkeypatch.setattr(store, "RESIDENT", 0)
    found = json.loads(said(*words, "--json")[1])
    assert [part["classes"] for part in found] == [{"left": 32, "right": 32}, {"left": 8, "right": 8}]
    assert found[0]["file"] == str(next(Path("cache").glob("*.safetensors")))
    code, _, err = said("prepare", "--data.root", "absent")
    assert code == 2 and "There is no folder" in err


def test_a_long_decoding_says_how_far_it_is(root, monkeypatch, capsys):
    monkeypatch.setattr("capsnet_dist.screen.counting.SECONDS_BETWEEN_LINES", -1.0)
    split(root)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 80 and lines[39].startswith("decoding pictures: 40 of 80  0:00:0")
