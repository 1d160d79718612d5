"""Files that are broken or malicious: the right result or one clear error, and nothing else is touched."""

import contextlib
import gzip
import hashlib
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat
from test_train import RUN as DIGITS
from test_weights import SMALL

from capsnet_dist import UserError, build, config, datasets, load, models, optimizers, save, stems
from capsnet_dist.commands.evaluate import evaluate
from capsnet_dist.config import command_line
from capsnet_dist.data.idx import Published, read_idx
from capsnet_dist.data.mnist import FILES
from capsnet_dist.data.norb_matrix import read_matrix
from capsnet_dist.data.reading import Reading
from capsnet_dist.record.folder import RunFolder
from capsnet_dist.record.metrics_file import cut
from capsnet_dist.registry import Choice
from capsnet_dist.saved import checkpoint
from capsnet_dist.saved.header import sort_metadata
from capsnet_dist.saved.plan import Plan, draft
from capsnet_dist.saved.state import optimizer_tensors, restore_optimizer, wanted_tensors
from capsnet_dist.saved.trained_run import TrainedRun
from capsnet_dist.train import train
from capsnet_dist.training.stepper import Stepper

MIB = 2**20
RUN = replace(DIGITS, steps=2, resume="auto", checkpoint=replace(DIGITS.checkpoint, every=1))
CLASSES = tuple("abcde")
WORDS = [b"1e999", b"-1", b"9" * 5000, b"9" * 400, b"null", b"[]", b"{}", b"true", b"NaN", b'"\\ud800"', b'"\\u0000"']
WORDS += [b'"\\u001b[2J\\n"', b"[" * 3000, b'{"a":' * 3000]
fuzzed = settings(
    derandomize=True,
    max_examples=int(os.environ.get("CAPSNET_EXAMPLES", "80")),
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@st.composite
def mutations(draw, original):
    """A file with bytes flipped, cut, inserted, doubled, spliced or replaced by words, up to three times."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(data)))
        piece = data[start : start + draw(st.sampled_from([1, 2, 4, 16, 64, 1000]))]
        end = start + len(piece)
        match draw(st.sampled_from(["flip", "set", "cut", "insert", "double", "splice", "truncate", "word"])):
            case "flip":
                data[start:end] = bytes([piece[0] ^ 1 << draw(st.integers(0, 7))]) + piece[1:] if piece else b"\0"
            case "set":
                data[start : start + 1] = bytes([draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))])
            case "cut":
                del data[start:end]
            case "insert":
                data[start:start] = draw(st.binary(min_size=1, max_size=16))
            case "double":
                data[end:end] = piece
            case "splice":
                place = draw(st.integers(0, len(data)))
                data[place : place + len(piece)] = piece
            case "truncate":
                del data[start:]
            case "word":
                data[start:end] = draw(st.sampled_from(WORDS))
    return bytes(data)


@contextlib.contextmanager
def memory(limit):
    """No more than so many bytes beyond what is taken already."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@contextlib.contextmanager
def in_time(seconds):
    """Fail instead of waiting for ever."""

    def late(*_):
        pytest.fail(f"not done in {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def contents(folder):
    """Every file, by name; a link is what it points to."""
    paths = [path for path in Path(folder).rglob("*") if path.name != ".lock" or path.is_symlink()]
    links = {str(path): os.readlink(path) for path in paths if path.is_symlink()}
    return links | {str(path): path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()}


def outcome(named, action, limit=256 * MIB):
    """What reading gives: a result, or None for one clear error that names the file. All else fails the test."""
    before = contents(".")
    try:
        with memory(limit):
            result = action()
    except UserError as error:
        message = str(error)
        assert message.isprintable() and len(message) < 4000 and str(named) in message
        result = None
    assert contents(".") == before
    return result


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A small network and the files it was saved in."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    model = build(SMALL, (1, 8, 8), CLASSES)
    save(model, folder)
    return model, {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}


def fill(folder, files):
    Path(folder).mkdir(exist_ok=True)
    for name, data in files.items():
        (Path(folder) / name).write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_mutated_networks_load_as_they_were_or_not_at_all(network, name):
    model, files = network

    @fuzzed
    @given(mutations(files[name]))
    def check(data):
        fill("net", files | {name: data})
        loaded = outcome(name, lambda: load("net"))
        if loaded is not None:
            pairs = zip(loaded.state_dict().values(), model.state_dict().values(), strict=True)
            assert all(torch.equal(found, expected) for found, expected in pairs)

    check()


def optimize(model, optimizer):
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def adam(parameters):
    return torch.optim.Adam(parameters)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of one step: what fits it, and its files."""
    torch.manual_seed(0)
    model = build(SMALL, (1, 8, 8), CLASSES)
    wanted = wanted_tensors(model, adam, averaged=False)
    optimizer = adam(model.parameters())
    optimize(model, optimizer)
    tensors = {"model": model.state_dict(), "best": {}, "optimizer": optimizer_tensors(model, optimizer)}
    state = {"best": {"name": "last", "step": 0, "rank": [-math.inf, -math.inf]}, "skipped": 0, "scaler": None}
    state["evaluation_due"] = False
    folder = checkpoint.save(tmp_path_factory.mktemp("saved"), 1, tensors, state | {"run": {}, "environment": {}}, 1)
    return wanted, {path.name: path.read_bytes() for path in folder.iterdir()}


def seal(files):
    """Files with a manifest that fits them, as an attacker would write it."""
    described = {n: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for n, d in files.items()}
    return files | {"MANIFEST.json": json.dumps({n: d for n, d in described.items() if n != "MANIFEST.json"}).encode()}


FILES_OF_A_CHECKPOINT = [
    "MANIFEST.json",
    "state.json",
    "model.safetensors",
    "optimizer.safetensors",
    "best.safetensors",
]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("name", FILES_OF_A_CHECKPOINT)
def test_mutated_checkpoints_are_as_they_were_or_fit_or_are_refused(saved, name, sealed):
    wanted, files = saved
    whole = checkpoint.load(write_checkpoint(files), 1, wanted)

    @fuzzed
    @given(mutations(files[name]))
    def check(data):
        changed = files | {name: data}
        folder = write_checkpoint(seal(changed) if sealed and name != "MANIFEST.json" else changed)
        found = outcome("checkpoints/step-00000001", lambda: checkpoint.load(folder, 1, wanted))
        if found is not None:
            assert sealed or (found.state == whole.state and same(found.tensors, whole.tensors))
            go_on(found)

    check()


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        return torch.equal(found, expected)
    return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)


def write_checkpoint(files):
    fill("checkpoints", {})
    fill("checkpoints/step-00000001", files)
    return Path("checkpoints")


def go_on(found):
    """What the trainer does with a checkpoint."""
    model = build(SMALL, (1, 8, 8), CLASSES)
    optimizer = adam(model.parameters())
    model.load_state_dict(found.tensors["model"])
    if found.tensors["best"]:
        model.load_state_dict(found.tensors["best"])
    restore_optimizer(model, optimizer, found.tensors["optimizer"])
    optimize(model, optimizer)
    assert found.state["best"]["name"] == "last" and found.state["best"]["rank"] < [2.0, 0.0]
    assert found.state["skipped"] + 1 > 0 and found.state["run"].keys() is not None


STATE = {"best": {"name": "last", "step": 0, "rank": [0.5, -1.0]}, "skipped": 0, "scaler": None}
STATE |= {"run": {}, "environment": {}, "format": 2, "step": 1, "evaluation_due": False}
BAD_STATES = [STATE | {"best": {**STATE["best"], **change}} for change in ({"name": "x"}, {"step": 9}, {"rank": [1.0]})]
BAD_STATES += [STATE | {"best": {**STATE["best"], "rank": [math.nan, 0.0]}}, STATE | {"skipped": "0"}, [STATE]]
BAD_STATES += [STATE | {"scaler": {"scale": 1.0}}, STATE | {"run": []}, STATE | {"step": 2}, STATE | {"format": 3}]
BAD_STATES += [{key: value for key, value in STATE.items() if key != missing} for missing in STATE]


@pytest.mark.parametrize("state", BAD_STATES)
def test_a_state_of_wrong_types_or_without_an_entry_names_its_file(saved, state):
    wanted, files = saved
    folder = write_checkpoint(seal(files | {"state.json": json.dumps(state).encode()}))
    assert outcome("step-00000001/state.json", lambda: checkpoint.load(folder, 1, wanted)) is None


@pytest.mark.parametrize("scaler", [None, torch.amp.GradScaler("cpu").state_dict()])
def test_a_right_state_is_taken(saved, scaler):
    wanted, files = saved
    state = STATE | {"scaler": scaler, "more": 1}
    folder = write_checkpoint(seal(files | {"state.json": json.dumps(state).encode()}))
    assert checkpoint.load(folder, 1, wanted).state == state


def test_a_checkpoint_of_absurd_size_is_refused_before_memory_is_taken(saved):
    wanted, files = saved
    folder = write_checkpoint(files)
    count = 10**11
    header = json.dumps({"conv.bias": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
    file = folder / "step-00000001" / "model.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    os.truncate(file, 8 + len(header) + 4 * count)  # a hole takes no room on the disk
    manifest = json.loads(files["MANIFEST.json"])
    manifest["model.safetensors"]["bytes"] = file.stat().st_size
    (file.parent / "MANIFEST.json").write_text(json.dumps(manifest))
    with (
        pytest.raises(UserError, match=r"model.safetensors does not fit this training: .*conv.bias is \(100000000000,"),
        memory(256 * MIB),
    ):
        checkpoint.load(folder, 1, wanted)


@pytest.mark.parametrize(("announced", "long"), [(None, 2**33), (2**33, None)])
@pytest.mark.parametrize("name", ["state.json", "model.safetensors"])
def test_a_file_of_another_size_than_its_manifest_says_is_refused_unread(saved, name, announced, long):
    wanted, files = saved
    folder = write_checkpoint(files)
    file, manifest = folder / "step-00000001" / name, json.loads(files["MANIFEST.json"])
    if long:
        os.truncate(file, long)  # a hole takes no room on the disk
    manifest[name]["bytes"] = announced or manifest[name]["bytes"]
    (file.parent / "MANIFEST.json").write_text(json.dumps(manifest))
    sizes = f"{manifest[name]['bytes']} bytes expected, {file.stat().st_size} found"
    with memory(256 * MIB), in_time(30), pytest.raises(UserError, match=f"{name} is damaged: {sizes}"):
        checkpoint.load(folder, 1, wanted)


@pytest.mark.parametrize("name", ["../../../outside", "a\0b", "/etc/passwd", "..", "", "\ud800", "extra.safetensors"])
def test_a_manifest_leads_nowhere_else(saved, name):
    wanted, files = saved
    manifest = json.loads(files["MANIFEST.json"]) | {name: {"sha256": "", "bytes": 1}}
    folder = write_checkpoint(files | {"MANIFEST.json": json.dumps(manifest).encode()})
    checkpoint.load(folder, 1, wanted)  # what nobody asks for is not looked at


LINES = [{"step": step, "epoch": 0.1, "split": "train", "lr": 1e-3, "loss": 0.5, "accuracy": 0.1} for step in (1, 2, 3)]
LINES[2:2] = [
    {"step": 2, "split": "validation", "weights": name, "accuracy": 0.2, "loss": 1.0} for name in ("last", "ema")
]
LINES += [{"split": "poses", "pixel_change": 0.1}, {"step": 3, "split": "test", "weights": "last", "accuracy": 0.2}]
METRICS = "".join(json.dumps(line) + "\n" for line in LINES).encode()


def test_mutated_metrics_are_cut_to_good_lines_or_refused():
    @fuzzed
    @given(mutations(METRICS))
    def check(data):
        Path("metrics.jsonl").write_bytes(data)
        beside = outcome("metrics.jsonl", lambda: contextlib.nullcontext(cut_and_read()))
        if beside is not None:
            lines = [json.loads(line) for line in beside.enter_result]
            steps = [line["step"] for line in lines if line["split"] == "train"]
            assert steps == sorted(set(steps)) and all(step <= 2 for step in steps)
            assert all(isinstance(float(line[key]), float) for line in lines for key in ("loss", "accuracy"))

    def cut_and_read():
        beside = cut(Path("metrics.jsonl"), 2)
        lines = beside.read_bytes().splitlines()
        beside.unlink()
        return lines

    check()


@pytest.mark.parametrize("tail", [b"", b'{"step": 3, "spl', b"\0" * 4096, METRICS[-40:], b"\xff\xfe"])
def test_a_torn_end_of_the_metrics_is_left_out(tail):
    Path("metrics.jsonl").write_bytes(METRICS + tail)
    assert cut(Path("metrics.jsonl"), 2).read_bytes() == b"".join(METRICS.splitlines(keepends=True)[:4])


@pytest.mark.parametrize("damage", [b'"loss": "a"', b'"loss": 0.5\r', b'"loss": 0.5, "\xe2\x80\xa8": 0'])
def test_damaged_metrics_are_named_by_their_line(damage):
    Path("metrics.jsonl").write_bytes(METRICS.replace(b'"loss": 0.5', damage, 1))
    with pytest.raises(UserError, match="metrics.jsonl is damaged: line 1. Remove that line"):
        cut(Path("metrics.jsonl"), 2)


ENTRIES = bytes(range(24))
IDX = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + ENTRIES


@pytest.mark.parametrize("sealed", [False, True])
def test_mutated_idx_files_are_read_as_published_or_not_at_all(sealed):
    @fuzzed
    @given(mutations(IDX))
    def check(data):
        Path("idx").write_bytes(data)
        known = hashlib.sha256(data if sealed else IDX).hexdigest()
        found = outcome("idx", lambda: read_idx(Path(), Published("idx", (2, 3, 4), known)))
        assert found is None or (found.shape == (2, 3, 4) and bytes(found.flatten().tolist()) == data[16:])
        assert found is None or sealed or data == IDX

    check()


@pytest.mark.parametrize("name", ["a.mat", "a.mat.gz"])
@pytest.mark.parametrize("sealed", [False, True])
def test_mutated_matrices_are_read_as_published_or_not_at_all(name, sealed):
    matrix = struct.pack("<5i", 0x1E3D4C55, 2, 6, 4, 1) + ENTRIES
    original = gzip.compress(matrix, mtime=0) if name.endswith("gz") else matrix

    @fuzzed
    @given(mutations(original))
    def check(data):
        Path(name).write_bytes(data)
        plain = data if sealed and name == "a.mat" else matrix
        found = outcome(name, lambda: read_matrix(Path(name), (6, 4), hashlib.md5(plain).hexdigest()))
        if found is not None and found.dtype is torch.uint8:
            assert found.shape == (6, 4) and (sealed or bytes(found.flatten().tolist()) == ENTRIES)

    check()


def test_mutated_arrays_give_a_split_or_one_error():
    images = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    np.savez_compressed("a.npz", x_train=images, y_train=np.arange(3), classes=np.array(["a", "b", "c"]))
    original = Path("a.npz").read_bytes()

    @fuzzed
    @given(mutations(original))
    def check(data):
        Path("a.npz").write_bytes(data)
        npz = datasets("npz", file=Path("a.npz")).build()
        found = outcome("a.npz", lambda: (npz.classes, npz.split("train"))[1])
        assert found is None or (found.images.dtype is torch.uint8 and len(found.images) == len(found.labels))

    check()


@pytest.mark.parametrize("compressed", [False, True])
def test_mutated_files_of_affnist_give_a_split_or_one_error(compressed):
    held = {"image": np.arange(3200, dtype=np.uint8).reshape(1600, 2), "label_int": np.array([[3, 1]], dtype=np.uint8)}
    Path("data/affNIST").mkdir(parents=True)
    file = Path("data/affNIST/test.mat")
    savemat(file, {"affNISTdata": held}, do_compression=compressed)
    original = file.read_bytes()

    @fuzzed
    @given(mutations(original))
    def check(data):
        file.write_bytes(data)
        found = outcome("test.mat", lambda: datasets("affnist").build().split("test"))
        assert found is None or found.images.shape == (len(found.labels), 1, 40, 40)

    check()


def test_damaged_mnist_is_named_with_what_was_expected_and_found():
    raw = Path("data/MNIST/raw")
    raw.mkdir(parents=True)
    for published in FILES["test"]:
        (raw / published.name).write_bytes(b"cut short")
    mnist = datasets("mnist").build()
    with pytest.raises(UserError, match=r"t10k-images-idx3-ubyte is damaged .*7,840,016 bytes expected, 9 found"):
        mnist.split("test")
    os.truncate(raw / "t10k-images-idx3-ubyte", 7_840_016)
    with pytest.raises(UserError, match=r"sha256 0fa7898d[0-9a-f]{56} expected, [0-9a-f]{64} found. Delete it"):
        mnist.split("test")


@pytest.fixture(scope="module", params=["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def picture(request, tmp_path_factory):
    file = tmp_path_factory.mktemp("picture") / "file"
    Image.linear_gradient("L").resize((20, 12)).save(file, request.param)
    return file.read_bytes()


def test_mutated_pictures_give_pixels_or_one_error(picture):
    @fuzzed
    @given(mutations(picture))
    def check(data):
        Path("a.png").write_bytes(data)
        pixels = outcome("a.png", lambda: Reading((1, 8, 8))(Path("a.png")).pixels, limit=1024 * MIB)
        assert pixels is None or (pixels.shape == (1, 8, 8) and pixels.dtype is torch.uint8)

    check()


def test_mutated_runs_repeat_or_are_refused():
    data = json.dumps({"format": 1, "run": config.to_dict(DIGITS)}).encode()

    @fuzzed
    @given(mutations(data))
    def check(data):
        Path("config.json").write_bytes(data)
        run = outcome("config.json", lambda: command_line.parse(DIGITS, ["--config", "config.json"]))
        assert run is None or isinstance(run.model, Choice)

    check()


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", ["MANIFEST.json", "state.json", "model.safetensors"])
def test_what_is_no_ordinary_file_is_not_waited_for(saved, name, kind):
    wanted, files = saved
    folder = write_checkpoint({key: data for key, data in files.items() if key != name})
    place = folder / "step-00000001" / name
    {"pipe": os.mkfifo, "device": lambda at: at.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](place)
    message = f"{name} cannot be read: (it is no ordinary file|Is a directory)"
    with memory(256 * MIB), in_time(10), pytest.raises(UserError, match=message):
        checkpoint.load(folder, 1, wanted)


def test_a_picture_that_is_a_pipe_is_not_waited_for():
    os.mkfifo("a.png")
    with in_time(10), pytest.raises(UserError, match="a.png cannot be read as an image: it is no ordinary file"):
        Reading((1, 8, 8))(Path("a.png"))


def test_a_network_of_absurdly_many_parts_is_refused():
    model = models("self_routing_resnet")
    grown = models("attention_resnet", stem=stems("resnet", blocks=(10**9, 3, 3)))
    with memory(512 * MIB), pytest.raises(UserError, match="more than 10,000 parts"):
        draft(Plan(grown, (1, 28, 28), CLASSES, torch.float32, None))
    draft(Plan(model, (1, 28, 28), CLASSES, torch.float32, None))


def refusals(cases):
    """What a training says that is to go on in a changed folder, and whether it left everything as it was."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        del os.environ[name]  # a process group could be used only once
    train(RUN)
    said = []
    for change, options in cases:
        shutil.copytree("run", "again")
        change(Path("again"))
        before = contents(".")
        with pytest.raises(UserError) as caught:
            train(replace(RUN, run_dir=Path("again"), **options))
        said.append((str(caught.value), contents(".") == before))
        shutil.rmtree("again")
    return said


def reseal(name, change):
    """Change a JSON or safetensors file of every checkpoint, and make the manifest fit."""

    def changed(run):
        for step in (run / "checkpoints").iterdir():
            files = {path.name: path.read_bytes() for path in step.iterdir()}
            fill(step, seal(files | {name: change(files[name])}))

    return changed


def without_best(data):
    return json.dumps({key: value for key, value in json.loads(data).items() if key != "best"}).encode()


def link(name):
    def linked(run):
        Path("outside").mkdir(exist_ok=True)
        shutil.rmtree(run / name) if (run / name).is_dir() else (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(Path("outside").resolve() / Path(name).name)

    return linked


def pipe(run):
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")


def damage_metrics(run):
    (run / "metrics.jsonl").write_bytes((run / "metrics.jsonl").read_bytes().replace(b'"loss"', b'"lots"', 1))


def nothing(run):
    pass


REFUSED = {
    "another network": (
        nothing,
        {"model": DIGITS.model.replace(channels=4)},
        r"conv.bias is \(8,\) in the file and \(4,\)",
    ),
    "another optimizer": (
        nothing,
        {"optimizer": optimizers("sgd")},
        "optimizer.safetensors does not fit .*momentum_buffer is",
    ),
    "another type": (nothing, {"dtype": "float64"}, "conv.bias is float32 in the file and float64 in the model"),
    "no best": (reseal("state.json", without_best), {}, 'state.json is damaged: dict is missing required key.*"best"'),
    "no safetensors": (
        reseal("model.safetensors", lambda data: b"\x80\x04pickle"),
        {},
        "model.safetensors is damaged or no",
    ),
    "damaged metrics": (damage_metrics, {}, "metrics.jsonl is damaged: line 1"),
    "linked metrics": (link("metrics.jsonl"), {}, "metrics.jsonl is a link"),
    "linked lock": (link(".lock"), {}, ".lock is a link"),
    "linked draft": (link(".STATUS.json.new"), {}, ".STATUS.json.new is a link"),
    "linked samples": (link("samples"), {}, "samples is a link"),
    "linked picture": (link("samples/0000002.png"), {}, "0000002.png is a link"),
    "linked checkpoints": (link("checkpoints"), {}, "checkpoints is a link"),
    "linked checkpoint": (link("checkpoints/step-00000001"), {}, "step-00000001 is a link"),
    "pipe": (pipe, {}, "metrics.jsonl is a link or no ordinary file"),
}


def test_a_run_that_cannot_go_on_says_why_and_is_left_as_it_was():
    said = run_ranks(1, refusals, [(change, options) for change, options, _ in REFUSED.values()])
    for (message, unchanged), (case, (_, _, expected)) in zip(said, REFUSED.items(), strict=True):
        assert re.search(expected, message) and message.isprintable(), case
        assert unchanged, case


def test_a_checkpoint_without_the_average_that_is_wanted_is_refused(saved):
    wanted, files = saved
    with pytest.raises(UserError, match="MANIFEST.json does not list average.safetensors: .* a training without it"):
        checkpoint.load(write_checkpoint(files), 1, {**wanted, "average": wanted["model"]})


def test_best_weights_that_were_averaged_are_refused_without_an_average(saved):
    wanted, files = saved
    state = STATE | {"best": STATE["best"] | {"name": "ema"}}
    folder = write_checkpoint(seal(files | {"state.json": json.dumps(state).encode()}))
    with pytest.raises(UserError, match="the best weights are averaged ones, which --ema 0 leaves out"):
        checkpoint.load(folder, 1, wanted)


def test_a_refused_run_removes_no_folder_that_was_there():
    fill("mine", {"thesis.tex": b"years"})
    with pytest.raises(UserError, match="only 1295 training images"):
        train(replace(RUN, run_dir=Path("mine"), batch_size=4096))
    assert Path("mine/thesis.tex").read_bytes() == b"years"


def test_old_checkpoints_are_removed_here_and_nowhere_else(saved):
    outside = Path("outside")
    fill(outside, {"kept": b"kept"})
    folder = write_checkpoint(saved[1])
    (folder / "step-00000002").symlink_to(outside.resolve())
    (folder / ".writing-1").symlink_to(outside.resolve())
    checkpoint.save(folder, 3, {}, {}, keep=1)
    assert checkpoint.steps(folder) == [3] and (outside / "kept").read_bytes() == b"kept"


def test_metrics_that_find_no_room_are_written_when_there_is():
    folder = RunFolder(RUN)
    folder.log(step=1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        for step in (2, 3):
            with pytest.raises(OSError, match="too large"):
                folder.log(step=step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    folder.log(step=4)
    folder.close(remove=False)
    lines = Path("run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"step": step} for step in (1, 2, 3, 4)]


def vanish(folder):
    shutil.rmtree(folder, ignore_errors=True)


def forbid(folder):
    """Let nobody write there; root may always, so be somebody else."""
    if os.getuid() == 0:
        Image.init()  # its modules may be in root's home
        os.seteuid(65534)
    else:
        for path in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
            path.chmod(0o555)


def train_while(happens, run):
    original = Stepper._micro_batch

    def micro_batch(self, given, micro, progress):
        happens(run.run_dir)
        return original(self, given, micro, progress)

    Stepper._micro_batch = micro_batch
    train(run)


@pytest.mark.pictures
def test_a_run_folder_that_vanishes_is_said_in_one_line(capfd):
    with pytest.raises(AssertionError, match="UserError.'The run folder run can no longer be written: No such file"):
        run_ranks(1, train_while, vanish, RUN)
    said = capfd.readouterr().err
    assert "no checkpoint of step 1: No such file or directory (1 failed so far)" in said and "no picture" in said
    assert load("run").classes == tuple("0123456789")  # the weights were saved all the same


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("config.json", {"data": ["digits"]}, "net/config.json: run.data must be an object with a name"),
        ("config.json", {"loss": {"name": "margn"}}, "net/config.json: Unknown loss 'margn'"),
        ("config.json", {"loss": {"name": "margin", "positive": [1]}}, "net/config.json: run.loss.positive must be"),
        ("config.json", {"validation": "0.1"}, "net/config.json: run.validation must be at least 0"),
        ("config.json", {"validation": math.nan}, "net/config.json: run.validation must be at least 0"),
        ("config.json", {"images_per_class": "9"}, "net/config.json: run.images_per_class must be null or an integer"),
        ("config.json", {"images_per_class": 0}, "net/config.json: run.images_per_class must be null or an integer"),
        ("environment.json", [], "net/environment.json does not say where"),
        ("environment.json", "[" * 3000, "net/environment.json cannot be read as JSON"),
    ],
)
def test_a_run_is_not_evaluated_by_a_broken_configuration(name, change, message):
    run = config.to_dict(DIGITS) | (change if name == "config.json" else {})
    save(build(DIGITS.model, (1, 8, 8), tuple("0123456789")), "net", run=run)
    if name != "config.json":
        Path("net", name).write_text(change if isinstance(change, str) else json.dumps(change))
    with pytest.raises(UserError, match=re.escape(message)):
        evaluate("net", data=TrainedRun("net").data(), split="validation")


@pytest.mark.pictures
def test_a_run_folder_that_becomes_read_only_is_said_in_one_line(capfd):
    with pytest.raises(AssertionError, match="UserError.'run cannot be written: Permission denied"):
        run_ranks(1, train_while, forbid, RUN)
    said = capfd.readouterr().err
    assert "no checkpoint of step 1: Permission denied (1 failed so far)" in said and "no picture" in said


def test_the_same_network_is_saved_in_the_same_bytes(network):
    model, files = network
    content = files["model.safetensors"]
    text = content[8:].partition(b"}")[0] + b"}"
    swapped = json.dumps(dict(reversed(json.loads(text[len(b'{"__metadata__":') :]).items())), separators=(",", ":"))
    other = content.replace(text, b'{"__metadata__":' + swapped.encode())
    assert other != content and sort_metadata(other) == sort_metadata(content) == content
    fill("net", files | {"model.safetensors": content})
    assert same(load("net").state_dict(), model.state_dict())
