"""What is installed: the wheel holds all that README shows, and in an environment of its own it does it."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from contextlib import redirect_stderr
from dataclasses import replace
from email.parser import Parser
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from test_plugins_travel import ROUTING, STROKES
from test_train import RUN

from capsnet_dist import UserError, datasets, losses, models
from capsnet_dist.exporting.onnx_file import require_packages
from capsnet_dist.importing.hdf5 import read_keras
from capsnet_dist.kernels import backends
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.train import train
from capsnet_dist.version import VERSION

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, as files."""
    build = pytest.importorskip("hatchling.build")
    folder, before = tmp_path_factory.mktemp("dist"), Path.cwd()
    os.chdir(ROOT)
    try:
        return [folder / make(str(folder)) for make in (build.build_wheel, build.build_sdist)]
    finally:
        os.chdir(before)


def files(*folders):
    """The files that travel, by their paths in the package."""
    found = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    return {file.relative_to(ROOT).as_posix() for file in found if "__pycache__" not in file.parts}


def test_the_wheel_holds_the_package_recipes_and_launch_files_and_nothing_else(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        for file in ("recipes/digits.py", "launch/cpu.yaml"):
            assert wheel.read(f"capsnet_dist/{file}") == (ROOT / file).read_bytes()
    assert names == files("capsnet_dist") | {f"capsnet_dist/{file}" for file in files("recipes", "launch")}
    assert "capsnet_dist/py.typed" in names


def test_the_wheel_says_what_it_needs_and_what_it_brings(built):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with zipfile.ZipFile(built[0]) as wheel:
        info = f"capsnet_dist-{VERSION}.dist-info"
        said = Parser().parsestr(wheel.read(f"{info}/METADATA").decode())
        assert "capsnet-dist = capsnet_dist.commands.main:main" in wheel.read(f"{info}/entry_points.txt").decode()
        assert f"{info}/licenses/LICENSE" in wheel.namelist()
    assert (said["Version"], said["Requires-Python"]) == (VERSION, project["requires-python"])
    assert set(said.get_all("Provides-Extra")) == set(project["optional-dependencies"])
    plain = [need for need in said.get_all("Requires-Dist") if "extra ==" not in need]
    assert len(plain) == len(project["dependencies"])


def test_the_source_distribution_makes_the_same_wheel(built):
    with tarfile.open(built[1]) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    assert files("capsnet_dist", "recipes", "launch") | {"pyproject.toml", "README.md", "LICENSE"} <= names


@pytest.mark.skipif(find_spec("twine") is None, reason="twine is not installed")
def test_an_index_would_take_both(built):
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *built], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_every_requirement_has_a_floor_and_no_cap():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [need for group in [project["dependencies"], *project["optional-dependencies"].values()] for need in group]
    own = [need for need in needs if not need.startswith("capsnet_dist[")]
    assert all(re.fullmatch(r"[\w-]+(\[\w+\])?>=[\d.]+", need) or need == "pre-commit" for need in own), own


def start_tracker(kind):
    Tracker(kind, project="p", name="n", config={}, folder=Path("."))


def train_on_cpu(_):
    """Raise what a training says."""
    with redirect_stderr(io.StringIO()) as told:
        small = models("cnn", channels=(4,), kernels=(3,), hidden=(8,))
        train(replace(RUN, model=small, regularizer=losses("none"), steps=1))
    raise UserError(told.getvalue())


OPTIONAL = {
    "export": ("onnx", lambda _: require_packages()),
    "fast": ("llvmlite", train_on_cpu),
    "import": ("h5py", lambda _: read_keras(Path("weights.h5"))),
    "parquet": ("pyarrow", lambda _: datasets("hub", repository="owner/name").build().split("train")),
    "tensorboard": ("tensorboard", start_tracker),
    "wandb": ("wandb", start_tracker),
}
"""By extra, a package that it brings, and what does not work without."""


@pytest.mark.parametrize("extra", OPTIONAL)
def test_where_an_extra_is_missing_one_message_names_it(extra, monkeypatch):
    package, use = OPTIONAL[extra]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.parquet", None)
    monkeypatch.setattr(backends, "installed", lambda name: name != package)
    with pytest.raises(UserError, match=rf"{package}.*pip install 'capsnet_dist\[{extra}\]'"):
        use(package)


def test_each_extra_that_a_user_chooses_is_missed_here():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert OPTIONAL.keys() == project["optional-dependencies"].keys() - {"dev", "docs", "test"}


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """Runs words in an environment that has the wheel, and for the rest the packages of this one."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place)
    python = place / "bin" / "python"
    (site,) = place.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(f"{Path(np.__file__).parents[1]}\n")  # whose own .pth files are not read
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", built[0]]
    subprocess.run(pip, check=True)
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    variables |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "ACCELERATE_USE_CPU": "true"}

    def call(*words, code=0):
        done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    assert str(site) in call(python, "-P", "-c", "import capsnet_dist; print(capsnet_dist.__file__)")
    return call


@pytest.mark.slow
def test_the_installed_wheel_trains_shows_and_predicts_in_an_empty_folder(installed):
    installed("capsnet-dist", "train", "digits", "--steps", "60", "--run-dir", "runs/digits/first")
    assert "test accuracy" in installed("capsnet-dist", "evaluate", "runs/digits/first")
    installed("capsnet-dist", "show", "runs/digits/first", "curves")
    write_pictures(Path("pictures"))
    installed("capsnet-dist", "predict", "runs/digits/first", "pictures", "--csv", "out.csv")
    assert len(rows_of("out.csv")) == 80
    assert len(installed("capsnet-dist", "runs").splitlines()) == 2
    assert "dynamic" in installed("capsnet-dist", "plugins", "routing")


def write_pictures(folder):
    """Forty pictures of each of two classes, in a folder of its own."""
    for label in ("zero", "one"):
        for number, pixels in enumerate(load_digits().images[:40]):
            file = folder / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            shade = pixels.astype(np.uint8) * 15
            Image.fromarray(shade if label == "zero" else shade.T).resize((32, 32)).save(file)


def rows_of(file):
    with open(file, encoding="utf-8", newline="") as opened:
        return [*csv.DictReader(opened)]


SERVE = """
import csv, json, sys
sys.modules["torch"] = sys.modules["capsnet_dist"] = None  # an import of either fails
import numpy as np, onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("run/export/encoder.onnx")
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
files = [row["file"] for row in csv.DictReader(open("out.csv"))]
pictures = np.stack([np.asarray(Image.open(file).convert("RGB"), np.float32) for file in files])
(scores,) = session.run(["scores"], {"images": pictures.transpose(0, 3, 1, 2) / 255})
print(json.dumps([dict(zip(classes, map(float, each))) for each in scores]))
"""
COLLEAGUE = """
from capsnet_dist import UserError, load
try:
    load("parcel")
except UserError as error:
    print(error)
print(load("parcel", imports=True).classes)
"""


@pytest.mark.slow
def test_the_wheel_alone_trains_on_pictures_predicts_a_folder_exports_and_shares_with_whoever_lacks_the_plugin(
    installed, monkeypatch
):
    write_pictures(Path("pictures"))  # of 32 x 32 pixels, which the network takes as they are
    shutil.copytree("pictures", "others")
    Path("my_routing.py").write_text(ROUTING.replace("from strokes import short", STROKES))
    data = ["--data", "folder", "--data.root", "pictures", "--data.size", "32", "--data.cache", "cache"]
    small = ["--model", "capsnet", "--model.decoder", "none", "--model.channels", "8", "--model.kernel", "3"]
    own = ["--model.primary-types", "2", "--model.routing", "averaging", "--import", "my_routing.py"]
    installed("capsnet-dist", "train", *data, *small, *own, "--steps", "2", "--batch-size", "16", "--run-dir", "run")
    installed("capsnet-dist", "predict", "run", "others", "--csv", "out.csv", "--import", "my_routing.py")
    installed("capsnet-dist", "export", "run", "--import", "kept")
    served = json.loads(installed("python", "-P", "-c", SERVE))
    assert len(served) == 80
    for row, scores in zip(rows_of("out.csv"), served, strict=True):
        assert {name: float(row[f"score:{name}"]) for name in scores} == pytest.approx(scores, abs=1e-4)
    assert "run.seed" not in installed("capsnet-dist", "diff", "run", "run")
    installed("capsnet-dist", "pack", "run", "colleague/parcel")
    Path("my_routing.py").rename("colleague/theirs.py")
    others = Path("others").absolute()
    monkeypatch.chdir("colleague")
    said, classes = installed("python", "-P", "-c", COLLEAGUE).splitlines()
    assert "kept parcel/plugins/my_routing.py" in said and classes == "('one', 'zero')"
    installed("capsnet-dist", "predict", "parcel", others, "--csv", "out.csv", "--import", "theirs.py")
    assert [row["name"] for row in rows_of("out.csv")] == [row["name"] for row in rows_of("../out.csv")]


@pytest.mark.slow
def test_launchers_start_the_installed_wheel_and_its_recipes(installed):
    dry = ["train", "digits", "--dry-run", "--processes"]
    installed("python", "-m", "accelerate.commands.launch", "-m", "capsnet_dist", *dry, "1")
    installed("python", "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "capsnet_dist", *dry, "2")
    installed("capsnet-dist", "launch-files", ".")
    launch = ["python", "-m", "accelerate.commands.launch", "--config_file", "launch/cpu.yaml"]
    installed(*launch, "recipes/digits.py", "--dry-run", "--processes", "2")
    installed(*launch, "-m", "capsnet_dist", "train", "minst", code=1)
