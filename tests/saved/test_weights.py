"""Weights load exactly or not at all, with one message."""

import functools
import json
import os
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from capsnet_dist import UserError, build, decoders, layers, load, models, primaries, routings, save, stems
from capsnet_dist.saved import hub, weights
from capsnet_dist.saved.plan import Plan, draft

SMALL = models(
    "capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3, decoder=decoders("masked", hidden=(8,))
)


@pytest.fixture
def folder():
    save(build(SMALL, (1, 8, 8), tuple("abcde")), "saved")
    return Path("saved")


def rewrite(change):
    """Damage that another program's save would leave: no checksum of ours is consulted before the fault is found."""

    def damage(folder):
        file = folder / "model.safetensors"
        state = change(load_file(file))
        sha256 = weights.digest(state)
        save_file(state, file, metadata={"sha256": sha256})
        edit(weights=sha256)(folder)

    return damage


def edit(**changes):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return damage


def option(**changes):
    """Change the network's options in config.json."""

    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        edit(model=config["model"] | changes)(folder)

    return damage


def content(change):
    """Change the bytes of the weights."""

    def damage(folder):
        file = folder / "model.safetensors"
        file.write_bytes(change(file.read_bytes()))

    return damage


def header(change):
    """Change the JSON in front of the weights."""

    def damage(data):
        length = struct.unpack("<Q", data[:8])[0]
        text = change(json.loads(data[8 : 8 + length]))
        text = text if isinstance(text, bytes) else json.dumps(text).encode()
        return struct.pack("<Q", len(text)) + text + data[8 + length :]

    return content(damage)


def flip(data):
    return data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]


def entry(**changes):
    return header(lambda found: found | {"conv.bias": found["conv.bias"] | changes})


def broken(state, value):
    state["conv.bias"][0] = value
    return state


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_load_gives_the_network_that_was_saved_in_its_own_type(dtype):
    model = build(SMALL, (1, 8, 8), tuple("abc")).to(dtype)
    save(model, "saved", more=1)
    loaded = load("saved")
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor) and loaded.state_dict()[name].dtype == dtype
    assert loaded.classes == ("a", "b", "c") and loaded.choice == SMALL and not loaded.training
    assert json.loads(Path("saved/config.json").read_text())["more"] == 1


def test_loading_uses_up_no_random_numbers(folder):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    load(folder)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", list(routings))
def test_every_routing_can_be_sized_before_memory_is_taken(name):
    small = dict(stem=stems("convolution", channels=4, kernel=3), primary=primaries("vector", types=2, kernel=3))
    model = models("stack", **small, layers=(layers("dense", routing=routings(name)),))
    save(build(model, (1, 8, 8), tuple("abc")), "saved")
    load("saved")


class Operations(TorchDispatchMode):
    """Notes the names of all operations."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", list(models))
def test_every_network_can_be_sized_before_memory_is_taken(name):
    """Nor are there random numbers, for which PyTorch would load its compiler: two of three seconds of a `load`."""
    with Operations() as operations:
        planned = draft(Plan(models(name), (1, 28, 28), tuple("abc"), torch.float32, None))
    assert all(tensor.is_meta for tensor in planned.state_dict().values())
    assert not operations.names & {"normal_", "uniform_", "random_", "bernoulli_", "exponential_"}


MISSING = rewrite(lambda state: {name: tensor for name, tensor in state.items() if name != "conv.bias"})
FAULTS = {
    "missing key": (MISSING, r"config.json: conv.bias is missing\.$"),
    "extra key": (rewrite(lambda s: s | {"more": torch.zeros(1)}), "more is not part of the network"),
    "prefix on some keys": (
        rewrite(lambda s: {k.replace("conv.bias", "module.conv.bias"): t for k, t in s.items()}),
        "conv.bias is missing; module.conv.bias is not part",
    ),
    "unknown option": (option(kernell=3), "model.kernell is not an option. Did you mean 'kernel'"),
    "option of another type": (option(kernel="3"), "model.kernel must be int; got '3'"),
    "impossible option": (
        option(primary_stride=0),
        "config.json: The network cannot be built: model 'capsnet': primary_stride 0: must be at least 1",
    ),
    "unknown routing": (option(routing={"name": "my_em"}), "Unknown routing 'my_em'.*Known: .*dynamic"),
    "unknown model": (option(name="capsnett"), "Unknown model 'capsnett'. Did you mean 'capsnet'"),
    "number of classes": (edit(classes=["a", "b"]), "the file has 5 classes, config.json has 2; .*5, .* in the file"),
    "wrong shape": (
        option(channels=3),
        r"config.json: conv.bias is \(4,\) in the file and \(3,\) in the model; conv.w",
    ),
    "other type": (
        rewrite(lambda s: {name: tensor.bfloat16() for name, tensor in s.items()}),
        "conv.bias is bfloat16 in the file and float32 in the model",
    ),
    "half file": (
        content(lambda d: d[: len(d) // 2]),
        r"cut short or has extra bytes: [\d,]+ bytes expected, [\d,]+ f",
    ),
    "trailing bytes": (content(lambda d: d + b"more"), "cut short or has extra bytes"),
    "LFS pointer": (content(lambda d: b"version https://git-lfs.github.com/spec/v1\n"), "LFS pointer.*git lfs pull"),
    "LFS pointer for a configuration": (
        lambda d: (d / "config.json").write_text("version https://git-lfs"),
        "cannot be read as JSON",
    ),
    "random bytes": (content(lambda d: b"\x80\x04pickle" * 9), "damaged or no safetensors file.*a header of"),
    "empty": (content(lambda d: b""), "holds 0 bytes, too few"),
    "four bytes": (content(lambda d: d[:4]), "holds 4 bytes, too few"),
    "cut in the header": (content(lambda d: d[:100]), "cut short: .* expected for its header alone, 100 found"),
    "flipped byte": (content(flip), "do not match its checksum"),
    "weights of another run": (edit(weights="0" * 64), "checksums differ, so the two were not saved together"),
    "header without JSON": (header(lambda h: b"{" * 50), "header is not JSON"),
    "deep header": (header(lambda h: b"[" * 200_000), "header is not JSON"),
    "header that is a list": (header(lambda h: [1]), "not a JSON object"),
    "name that stands twice": (header(lambda h: b'{"a": 1, "a": 1}'), "header is not JSON"),
    "metadata of numbers": (header(lambda h: h | {"__metadata__": {"a": 1}}), "metadata"),
    "terminal codes in a name": (header(lambda h: h | {"\x1b[2J": {}}), r"names a tensor '\\x1b"),
    "no description": (header(lambda h: h | {"a": 1}), "does not describe a"),
    "unknown type": (entry(dtype="F13"), "unknown type 'F13'"),
    "negative side": (entry(shape=[-4]), "impossible shape"),
    "absurd shape": (entry(shape=[10**12, 10**12]), "another size than its shape"),
    "many axes": (entry(shape=[1] * 1000), "impossible shape"),
    "overlap": (header(lambda h: h | {"more": h["conv.bias"]}), "overlap or leave a gap"),
    "gap": (header(lambda h: {k: v for k, v in h.items() if k != "conv.bias"}), "overlap or leave a gap"),
    "not a number": (rewrite(lambda s: broken(s, torch.nan)), "infinite or no numbers, in conv.bias"),
    "infinite": (rewrite(lambda s: broken(s, torch.inf)), "infinite or no numbers, in conv.bias"),
    "no configuration": (lambda d: (d / "config.json").unlink(), "saved holds no config.json: give the folder"),
    "no weights": (lambda d: (d / "model.safetensors").unlink(), "saved holds no model.safetensors: give"),
    "other format": (edit(format=99), "format 1"),
    "configuration that is a list": (lambda d: (d / "config.json").write_text("[]"), "format 1"),
    "enormous configuration": (lambda d: (d / "config.json").write_text(" " * 2_000_000), "more than 1,000,000"),
    "entry missing": (
        lambda d: (d / "config.json").write_text('{"format": 1, "image": []}'),
        "lacks model and classes",
    ),
    "terminal codes in an entry": (
        lambda d: (d / "config.json").write_text('{"format": 1, "\\u001b[2J": 0}'),
        r"it holds 'format', '\\x1b\[2J'\.$",
    ),
    "image of two numbers": (edit(image=[1, 8]), "channels, height and width"),
    "image of no pixels": (edit(image=[1, 0, 8]), "channels, height and width"),
    "classes without names": (edit(classes=[1, 2]), "list of printable names"),
    "terminal codes in a class": (edit(classes=["\x1b[2J"]), "list of printable names"),
    "unknown dtype": (edit(dtype="float23"), "Did you mean 'float32'"),
    "model without a name": (edit(model=["capsnet"]), "model must be an object with a name"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_one_clear_message(folder, fault):
    damage, message = FAULTS[fault]
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 3000


def test_all_problems_stand_in_one_message(folder):
    MISSING(folder)
    option(channels=3)(folder)
    edit(weights="another")(folder)
    with pytest.raises(UserError, match=r"conv.bias is missing; conv.weight is \(4, 1.*not saved together"):
        load(folder)


def test_an_absent_plugin_is_named_with_its_package(folder):
    option(routing={"name": "my_em"})(folder)
    edit(plugins={"routing my_em": "my-routing 0.2", "routing dynamic": "capsnet_dist 0.1.0", "x": 1})(folder)
    with pytest.raises(
        UserError, match=r"It was saved with routing my_em of my-routing 0.2: install or import"
    ) as caught:
        load(folder)
    assert "capsnet_dist 0.1.0" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_wrapper_around_all_names_is_left_out_with_a_notice(folder, prefix):
    expected = load(folder).state_dict()
    rewrite(lambda state: {prefix + name: tensor for name, tensor in state.items()})(folder)
    with pytest.warns(UserWarning, match="every name begins with"):
        state = load(folder).state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_weights_without_a_checksum_load_with_a_notice(folder):
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    edit(weights=None)(folder)
    with pytest.warns(UserWarning, match="no checksum"):
        load(folder)


def test_absurd_sizes_are_refused_before_memory_is_taken(folder):
    option(channels=10**9)(folder)  # 8 * 10**9 * 9 * 4 bytes in the second convolution alone
    with pytest.raises(UserError, match=r"conv.bias is \(4,\) in the file and \(1000000000,\)"):
        load(folder)
    option(channels=10**30)(folder)
    with pytest.raises(UserError, match="cannot be built"):
        load(folder)


def test_a_configuration_imports_nothing(folder):
    Path("evil.py").write_text("raise SystemExit('imported')")
    option(routing={"name": "evil"})(folder)
    edit(plugins={"routing evil": "evil"})(folder)
    with pytest.raises(UserError, match="Unknown routing 'evil'"):
        load(folder)


@pytest.mark.parametrize("step", range(1, 7))
def test_a_save_that_is_cut_off_leaves_a_whole_network_or_a_clear_message(folder, monkeypatch, step):
    before = load(folder).state_dict()
    calls = []

    def dying(call):
        def counted(*arguments):
            calls.append(call)
            if len(calls) == step:
                raise KeyboardInterrupt
            return call(*arguments)

        return counted

    monkeypatch.setattr(os, "fsync", dying(os.fsync))
    monkeypatch.setattr(Path, "replace", dying(Path.replace))
    other = build(SMALL, (1, 8, 8), tuple("abcde"))
    try:
        save(other, folder)
    except KeyboardInterrupt:
        assert step <= 4
    else:
        assert step > 4
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]
    if step == 4:  # config.json is new, the weights are old
        with pytest.raises(UserError, match="not saved together"):
            load(folder)
    else:
        expected = before if step < 4 else other.state_dict()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in load(folder).state_dict().items())


def test_only_a_network_that_knows_its_options_is_saved_and_only_to_a_folder():
    with pytest.raises(UserError, match=r"Only a network made by capsnet_dist\.build"):
        save(SMALL.build((1, 8, 8), 3), "saved")
    Path("file").touch()
    with pytest.raises(UserError, match="file cannot be written"):
        save(build(SMALL, (1, 8, 8), tuple("abc")), "file")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("absent", "No such folder: absent. On the Hub"),
        ("/absent", r"No such folder: /absent \(given as a path\)"),
        ("./absent/run", r"\(given as a path\)"),
        ("~/absent", r"\(given as a path\)"),
        ("runs/x/best", r"\(given as a path\)"),
        ("runs/best", r"No such folder: runs/best \(given as a path\)"),
        (Path("others/best"), r"No such folder: others/best \(given as a path\)"),
        ("saved/config.json", "is a file: give the folder that holds it"),
        (__file__, "is a file, and a run is a folder. In a command the run comes before pictures"),
        ("hf://owner", "must be hf://owner/name"),
        ("hf://owner/name/folder", "must be hf://owner/name"),
        ("", "No such folder"),
        ("a\0b", "No such folder"),
    ],
)
def test_a_path_is_never_looked_up_on_the_hub(folder, monkeypatch, source, message):
    monkeypatch.setattr(hub, "download", None)
    Path("runs").mkdir()  # so that runs/best is a path too
    with pytest.raises(UserError, match=message):
        load(source)


@pytest.mark.parametrize(
    ("source", "revision", "expected"),
    [
        ("owner/name", None, ("owner/name", None)),
        ("owner/name@v1", None, ("owner/name", "v1")),
        ("owner/name", "v1", ("owner/name", "v1")),
        ("hf://owner/name@refs/pr/1", None, ("owner/name", "refs/pr/1")),
        ("hf://owner/name", None, ("owner/name", None)),
    ],
)
def test_an_address_on_the_hub_names_repository_and_revision(source, revision, expected):
    assert hub.address(source, revision) == expected


def test_a_revision_is_said_once_and_not_of_a_folder(folder):
    with pytest.raises(UserError, match="Give one"):
        load("owner/name@v1", revision="v2")
    with pytest.raises(UserError, match="is a folder here"):
        load(folder, revision="v2")


class Repositories(BaseHTTPRequestHandler):
    """A Hub with one network, at owner/name, and one repository for each way to fail."""

    failures = MappingProxyType(
        {"gated": (403, "GatedRepo"), "empty": (404, "EntryNotFound"), "old": (404, "RevisionNotFound")}
    )

    def do_HEAD(self):
        owner, name, _, revision, file = self.path.strip("/").split("/")
        status, code = (200, "") if owner == "owner" else self.failures.get(owner, (404, "RepoNotFound"))
        content = (Path("saved") / file).read_bytes()
        self.send_response(status)
        headers = {"X-Repo-Commit": "c" * 40, "ETag": f'"{name}-{revision}-{file}"', "X-Error-Code": code}
        for key, value in {**headers, "Content-Length": str(len(content) if status == 200 else 0)}.items():
            if value:
                self.send_header(key, value)
        self.end_headers()
        self.content = content if status == 200 else b""

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def served(folder, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Repositories)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    ours = functools.partial(huggingface_hub.hf_hub_download, endpoint=endpoint, cache_dir="cache", token=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", ours)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_made_of_a_network_on_the_hub_does_not_hide_it():
    Path("runs/mine").mkdir(parents=True)
    assert hub.folder_beside("runs/mine", "figures") == Path("runs/mine/figures")
    for source in ("owner/name", "owner/name@v1", "hf://owner/name"):
        hub.folder_beside(source, "figures").mkdir(exist_ok=True)
        assert hub.place(source), "a folder has taken its name"
    assert Path("owner-name-figures").is_dir()


def test_a_network_on_the_hub_loads_and_then_comes_from_the_cache(served, monkeypatch):
    loaded = load("hf://owner/name@main")
    assert torch.equal(loaded.state_dict()["conv.bias"], load("saved").state_dict()["conv.bias"])
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    load("owner/name", revision="main")
    with pytest.raises(UserError, match="owner/other is no folder here, the Hub cannot be reached.*no config.json"):
        load("owner/other")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gated/name", "gated/name is gated: accept its conditions"),
        ("empty/name", "empty/name has no config.json: it holds no network"),
        ("old/name@v1", "old/name@v1 names a revision that the repository does not have"),
        ("runs/digits", "runs/digits is neither a folder here nor a repository on the Hub"),
        ("owner/na--me", "is neither a folder here nor a name the Hub allows"),
    ],
)
def test_every_answer_of_the_hub_has_one_clear_message(served, source, message):
    with pytest.raises(UserError, match=message):
        load(source)


def test_a_hub_that_cannot_be_reached_is_said_without_a_traceback(monkeypatch):
    def failing(*arguments, **options):
        raise RuntimeError("connection lost\nand a long story")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing)
    with pytest.raises(UserError, match=r"config.json could not be downloaded \(RuntimeError: connection lost\)\.$"):
        load("owner/name")
