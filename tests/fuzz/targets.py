"""What is fuzzed: each target reads bytes where a file or a request would be; only a UserError may come of bad ones."""

import base64
import hashlib
import json
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from capsnet_dist import UserError, build, config, datasets, decoders, losses, models, save
from capsnet_dist.data.idx import Published, read_idx
from capsnet_dist.data.reading import Reading
from capsnet_dist.demo.answers import ANSWERS, about
from capsnet_dist.demo.handler import Handler
from capsnet_dist.demo.page import assemble
from capsnet_dist.demo.stage import Stage
from capsnet_dist.files import read_json
from capsnet_dist.record.metrics_file import cut
from capsnet_dist.run import Run, check
from capsnet_dist.saved import checkpoint
from capsnet_dist.saved.config_file import read_plan
from capsnet_dist.saved.header import read_header
from capsnet_dist.saved.plan import draft
from capsnet_dist.saved.state import optimizer_tensors, restore_optimizer, wanted_tensors

SMALL = models(
    "capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3, decoder=decoders("masked", hidden=(8,))
)
RUN = Run(name="fuzz", data=datasets("digits"), model=SMALL, loss=losses("margin"))
CLASSES = tuple("abcde")
WORDS = ["{", "}", "[", ",", "null", "NaN", "-Infinity", "1e999", "-1", "0.5", "9" * 60, "\\ud800", "\\u0000", '"name"']
WORDS += ['"step"', '"train"', '"best"', '"rank"', '"bytes"', '"data_offsets"', '"shape"', '"F32"']
STEP = Path("checkpoints/step-00000001")


def header(data: bytes) -> None:
    """The header of a safetensors file."""
    file = _written("model.safetensors", data)
    with file.open("rb") as opened:
        read_header(file, opened)


def plan(data: bytes) -> None:
    """config.json of a network, up to the network without memory."""
    draft(read_plan(_written("config.json", data)))


def run(data: bytes) -> None:
    """config.json of a training."""
    file = _written("config.json", data)
    match read_json(file):
        case {"run": dict(options)}:
            check(config.from_dict(RUN, options, "run"), 1)
        case _:
            pass  # the command line says that there is no run


def state(data: bytes) -> None:
    """A checkpoint: the first byte says which file is replaced, and whether the manifest is made to fit."""
    names = sorted(SAVED)
    which, sealed = data[0] % len(names) if data else 0, bool(data[:1] > b"\x7f")
    files = SAVED | {names[which]: data[1:]}
    if sealed and names[which] != "MANIFEST.json":
        about = {name: {"sha256": hashlib.sha256(d).hexdigest(), "bytes": len(d)} for name, d in files.items()}
        files["MANIFEST.json"] = json.dumps(about).encode()
    for name, content in files.items():
        (STEP / name).write_bytes(content)
    found = checkpoint.load(STEP.parent, 1, WANTED)
    model = build(SMALL, (1, 8, 8), CLASSES)
    optimizer = torch.optim.Adam(model.parameters())
    model.load_state_dict(found.tensors["model"])
    restore_optimizer(model, optimizer, found.tensors["optimizer"])
    _step(model, optimizer)


def metrics(data: bytes) -> None:
    """metrics.jsonl, cut back to step 2."""
    lines = [json.loads(line) for line in cut(_written("metrics.jsonl", data), 2).read_bytes().splitlines()]
    assert all(line["step"] <= 2 and float(line["loss"]) is not None for line in lines)


def idx(data: bytes) -> None:
    """An IDX file whose checksum is right."""
    published = Published("idx", (2, 3, 4), hashlib.sha256(data).hexdigest())
    assert bytes(read_idx(_written("idx", data).parent, published).flatten().tolist()) == data[16:]


def picture(data: bytes) -> None:
    """An image file."""
    assert Reading((1, 8, 8))(_written("picture", data)).pixels.shape == (1, 8, 8)


def asked(name: str, data: bytes) -> dict[str, Any]:
    """A request of the page of `capsnet-dist demo`: its body."""
    read, answered = ANSWERS[name]
    return answered(read(data, STAGES), STAGES)


def http(data: bytes) -> None:
    """All that a client of that page sends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        server = SimpleNamespace(page=PAGE, about=lambda: about(STAGES), knows=ANSWERS.__contains__, answer=asked)
        Handler(ours, ("127.0.0.1", 0), server)  # pyright: ignore


TARGETS: dict[str, Callable[[bytes], object]] = {
    target.__name__: target for target in (header, plan, run, state, metrics, idx, picture, http)
} | {name: partial(asked, name) for name in ANSWERS}


def answer(target: str, data: bytes) -> str:
    """What a target says, once it is sure that it may say so: "" or the one line of an error."""
    try:
        TARGETS[target](data)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 4000, str(error)
        return str(error)
    return ""


def seeds(target: str) -> list[bytes]:
    """Good files to start from."""
    model = build(SMALL, (1, 8, 8), CLASSES)
    save(model, "seed", run=config.to_dict(RUN))
    line = {"step": 1, "epoch": 0.1, "split": "train", "lr": 1e-3, "loss": 0.5, "accuracy": 0.1}
    described, weights = (Path("seed", name).read_bytes() for name in ("config.json", "model.safetensors"))
    lines = "".join(json.dumps(line | {"step": step}) + "\n" for step in (1, 2, 3)).encode()
    parts = sorted(SAVED)
    body = {"run": 0, "pixels": base64.b64encode(bytes(64)).decode(), "class": 1}
    moved = json.dumps(body | {"offsets": [[0.5] * 16]}).encode()
    head = b"POST /rebuild HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    images = [file.read_bytes() for file in sorted(Path("seed").glob("*.image"))]
    return {
        "header": [weights],
        "plan": [described],
        "run": [described],
        "state": [
            bytes([i + 128 // len(parts) * len(parts) * s]) + SAVED[n] for i, n in enumerate(parts) for s in (0, 1)
        ],
        "metrics": [lines],
        "idx": [bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 3, 4) + bytes(range(24))],
        "picture": images,
        "http": [head % len(moved) + moved, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"],
        "look": [json.dumps({"run": 0, "picture": base64.b64encode(image).decode()}).encode() for image in images],
        "rebuild": [moved],
        "effects": [json.dumps(body).encode()],
        "routing": [json.dumps(body | {"classes": [0, 1]}).encode()],
    }[target]


def _written(name: str, data: bytes) -> Path:
    Path(name).write_bytes(data)
    return Path(name)


def _step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def _checkpoint() -> dict[str, bytes]:
    torch.manual_seed(0)
    model = build(SMALL, (1, 8, 8), CLASSES)
    optimizer = torch.optim.Adam(model.parameters())
    _step(model, optimizer)
    tensors = {"model": model.state_dict(), "best": {}, "optimizer": optimizer_tensors(model, optimizer)}
    rest = {"best": {"name": "last", "step": 0, "rank": [0.5, -1.0]}, "skipped": 0, "scaler": None, "run": {}}
    rest["evaluation_due"] = False
    checkpoint.save(STEP.parent, 1, tensors, rest | {"environment": {}}, 1)
    return {file.name: file.read_bytes() for file in STEP.iterdir()}


def begin(folder: Path) -> None:
    """Work in a folder of its own."""
    global SAVED, WANTED
    os.chdir(folder)
    model = build(SMALL, (1, 8, 8), CLASSES).eval()
    STAGES.append(Stage("fuzz", model, None, "none", lambda images: images))
    WANTED = wanted_tensors(build(SMALL, (1, 8, 8), CLASSES), torch.optim.Adam, averaged=False)
    SAVED = _checkpoint()
    from PIL import Image

    Path("seed").mkdir()
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"):
        Image.linear_gradient("L").resize((20, 12)).save(f"seed/{kind}.image", kind)


PAGE = assemble()
STAGES: list[Stage] = []
SAVED: dict[str, bytes] = {}
WANTED: checkpoint.Wanted = {}
