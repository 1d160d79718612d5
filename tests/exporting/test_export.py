"""What is exported says what the network says, in programs that have neither this package nor PyTorch."""

import io
import json
import re
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from exported import ENTRY, IMAGES, NETWORKS, export, export_several, network, saved, session
from fastapi.testclient import TestClient
from PIL import Image
from sklearn.datasets import load_digits
from test_cli import refused, said

from capsnet_dist import Output, UserError, build, decoders, layers, lengths, load, models, routings, save, squash
from capsnet_dist.exporting import export as files
from capsnet_dist.exporting.parts import batches, trace
from capsnet_dist.version import VERSION

ROOT = Path(__file__).parents[2]
WITHOUT_ONNX = {"variational_capsnet"}
NAMES_FOLDERS = not hasattr(torch.fx.config, "do_not_emit_stack_traces")  # the oldest PyTorch always does
TOGETHER = sorted(NETWORKS.keys() - WITHOUT_ONNX - {"capsnet"})  # which the command writes


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained network of digits, as a run leaves it."""
    return saved(tmp_path_factory.mktemp("network"), "capsnet")


@pytest.fixture(scope="module")
def file(run):
    """Its encoder."""
    code, out, err = said("export", run)
    assert (code, err) == (0, "") and "from the network, on batches of 1, 2 and 5 test images" in out
    return run / "export" / "encoder.onnx"


def test_each_network_and_each_routing_is_tried_here():
    assert set(NETWORKS) == {name for name in models if models.owner(name).startswith("capsnet_dist ")}
    kinds = {type(part) for name in NETWORKS for part in network(name).modules()}
    assert {routings[name] for name in routings if routings.owner(name).startswith("capsnet_dist ")} <= kinds


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The networks, what ONNX Runtime says of seven images by the one file of all, and what runs that file."""
    found = {name: network(name) for name in TOGETHER} | {"squash": Squash()}
    file = tmp_path_factory.mktemp("networks") / "a.onnx"
    outputs = export_several(found, file).outputs
    run = session(file).run
    return found, dict(zip(outputs, run(list(outputs), {"images": IMAGES.numpy()}), strict=True)), run


class Squash(torch.nn.Module):
    """Takes the rows of images for capsules."""

    def forward(self, images):
        return Output(lengths(images[:, 0]), squash(images[:, 0]), None)


@pytest.mark.parametrize("name", TOGETHER)
def test_onnx_says_what_the_network_says_for_any_batch(name, together):
    found, said, _ = together
    expect(found[name], IMAGES, [said[f"{kind} {name}"] for kind in ("scores", "poses")])


def test_the_command_writes_what_the_network_says_for_any_batch(run, file):
    expect(load(run), digits(7), session(file).run(["scores", "poses"], {"images": digits(7).numpy()}))


def test_a_file_names_no_folder_of_the_machine_that_wrote_it(file):
    assert NAMES_FOLDERS or str(ROOT).encode() not in file.read_bytes()


def expect(model, images, found):
    """Compare scores and poses."""
    with torch.no_grad():
        scores, poses, _ = model(images)
    for numbers, expected in zip(found, (scores, poses), strict=True):
        np.testing.assert_allclose(numbers, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_what_onnx_lacks_is_named_with_the_part_that_computes_it(tmp_path):
    layer = layers("dense", wholes=3, dim=2, routing=routings("variational_bayes", iterations=1))
    with pytest.raises(UserError, match=r"digamma, which layers.0.routing \(VariationalBayesRouting\) computes"):
        export(network("stack", layers=(layer,)), tmp_path / "a.onnx", "onnx")
    assert not list(tmp_path.iterdir())


def test_an_error_inside_the_exporter_is_one_line(tmp_path, monkeypatch):
    failed = torch.onnx.OnnxExporterError("Failed to decompose.\nStep 2/3, target=torch.ops.aten.mul.Tensor")
    failed.__cause__ = AssertionError("Expected the same packet\n\nWhile executing %mul")
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: raised(failed))
    with pytest.raises(UserError, match=r"^PyTorch .*: AssertionError: Expected the same packet\. Use --format"):
        export(network("cnn"), tmp_path / "a.onnx", "onnx")


@pytest.mark.parametrize("name", sorted(WITHOUT_ONNX))
def test_what_onnx_lacks_is_in_a_file_of_torch(name, tmp_path):
    assert export(network(name), tmp_path / "a.pt2", "torch").difference < 1e-4
    assert NAMES_FOLDERS or str(ROOT).encode() not in (tmp_path / "a.pt2").read_bytes()


def test_capsules_of_length_zero_stay_what_they_are(together):
    _, _, run = together
    squashed, norms = run(["poses squash", "scores squash"], {"images": np.zeros((2, 1, 12, 12), np.float32)})
    assert not squashed.any()
    np.testing.assert_allclose(norms, lengths(torch.zeros(2, 12, 12)), rtol=1e-3)


def test_one_file_says_what_it_is(file):
    held = onnx.load(file, load_external_data=False)
    assert list(file.parent.iterdir()) == [file] and not any(t.external_data for t in held.graph.initializer)
    said = {entry.key: entry.value for entry in held.metadata_props}
    assert json.loads(said["classes"]) == list("0123456789") and json.loads(said["image"]) == [1, 8, 8]
    assert json.loads(said["preprocessing"]) is None and said["normalization"] == "none"
    assert said["capsnet_dist"] == VERSION and [entry.version for entry in held.opset_import if not entry.domain] == [
        18
    ]
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in held.graph.input] == ["batch"]


def test_the_decoder_rebuilds_from_poses_of_the_encoder(run, file):
    model = load(run)
    assert said("export", run, "--part", "decoder")[0] == 0
    images = digits(3)
    _, poses = session(file).run(["scores", "poses"], {"images": images.numpy()})
    labels = np.array([4, 0, 9])
    (found,) = session(run / "export" / "decoder.onnx").run(None, {"poses": poses, "labels": labels})
    with torch.no_grad():
        expected = model(images, torch.from_numpy(labels)).reconstruction
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_torch_files_are_read_without_this_package(run, tmp_path):
    code, out, err = said("export", run, "--format", "torch", "--part", "network", "--out", tmp_path / "a.pt2")
    assert (code, err) == (0, "") and "a.pt2: torch.export, images -> scores, poses, reconstruction" in out
    extra = {"network.json": ""}
    found = torch.export.load(tmp_path / "a.pt2", extra_files=extra).module()(images=digits(4))
    with torch.no_grad():
        expected = load(run)(digits(4))
    assert list(found) == list(expected._fields) and json.loads(extra["network.json"])["part"] == "network"
    for name, numbers in found.items():
        torch.testing.assert_close(numbers, getattr(expected, name))


def test_every_decoder_is_captured_for_any_batch():
    built = {
        name: decoders(name).build((1, 12, 12), 3, 4).eval() for name in decoders if name not in ("none", "two_object")
    }

    class All(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.built = torch.nn.ModuleDict(built)

        def forward(self, poses, labels):
            return {name: decoder(poses, labels) for name, decoder in self.built.items()}

    poses, labels = torch.rand(5, 3, 4), torch.tensor([0, 2, 1, 1, 0])
    program = trace(All(), {"poses": poses[:2], "labels": labels[:2]}, batches(["poses", "labels"])).program
    found, expected = program.module()(poses=poses, labels=labels), All()(poses, labels)
    for name in built:
        torch.testing.assert_close(found[name], expected[name], msg=name)


def test_a_file_that_says_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differs from the network by .*, more than -1: nothing is written"):
        export(network("cnn"), tmp_path / "a.pt2", "torch")
    assert not list(tmp_path.iterdir())


def test_the_program_of_the_documentation_says_what_the_network_says_without_pytorch(run, file, tmp_path):
    images = (255 * digits(9)).round().byte()
    np.save(tmp_path / "images.npy", images.numpy())
    (tmp_path / "serve_onnx.py").write_text(source("serve_onnx"))
    program = """
import json, sys
import numpy as np
from serve_onnx import open_encoder, predict
print(json.dumps(predict(*open_encoder(sys.argv[1]), np.load("images.npy"))))
assert not {"torch", "capsnet_dist"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", program, file], cwd=tmp_path, check=True, capture_output=True)
    assert json.loads(done.stdout) == load(run).predict(images).names


def test_the_service_of_the_documentation_answers_many_requests_at_once(run):
    app, model = documented("serve_api").make_app(str(run)), load(run)
    pixels = (255 * digits(9)[:, 0]).round().byte().numpy()
    with TestClient(app) as client, ThreadPoolExecutor(9) as threads:
        answers = list(threads.map(lambda each: client.post("/predict", content=png(each)).json(), pixels))
        assert client.post("/predict", content=b"none").status_code == 422
    for answer, scores in zip(answers, model.predict(pixels[:, None]).scores.tolist(), strict=True):
        assert list(answer.values()) == pytest.approx(scores, abs=1e-5)


def test_a_batch_that_fails_does_not_end_the_service_of_the_documentation(run, monkeypatch):
    found, model = documented("serve_api"), load(run)
    predict, failures = model.predict, iter([MemoryError("too large")])
    monkeypatch.setattr(model, "predict", lambda images: raised(next(failures, None)) or predict(images))
    monkeypatch.setattr(found, "load", lambda run: model)
    with TestClient(found.make_app(str(run)), raise_server_exceptions=False) as client:
        digit = png((255 * digits(1)[0, 0]).round().byte().numpy())
        assert [client.post("/predict", content=digit).status_code for _ in range(2)] == [500, 200]


def raised(error):
    if error is not None:
        raise error


def source(name):
    """A program of docs/serving.md."""
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    return re.search(rf"Write `{name}.py`:\n\n```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)[1]


def documented(name):
    """A program of docs/serving.md, as a module."""
    module = types.ModuleType(name)
    exec(source(name), module.__dict__)
    return module


def png(pixels):
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()


def test_mistakes_are_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("export", run, "--format", "torch", "--out", tmp_path / "file" / "a.pt2")
    bare = tmp_path / "bare"
    save(build(models("cnn", **NETWORKS["cnn"]), (1, 8, 8), ("a", "b")), bare, run=ENTRY)
    assert "the network has no decoder" in refused("export", bare, "--part", "decoder")


def digits(number):
    pixels = torch.from_numpy(load_digits().images[:number]).float() / 16
    return pixels[:, None]
