"""The command line: the numbers of the model card, one line for every mistake, results apart from notices."""

import contextlib
import inspect
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run_ranks
from PIL import Image
from sklearn.datasets import load_digits
from test_train import RUN, trained

from capsnet_dist import build, load, models, routings, save
from capsnet_dist.commands import main as cli
from capsnet_dist.data.division import hold_out
from capsnet_dist.data.reading import Reading
from capsnet_dist.plugins import REGISTRIES


def said(*words):
    """Exit code, standard output and standard error of a command."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue(), err.getvalue()


def refused(*words):
    """The one line with which a command is refused."""
    code, out, err = said(*words)
    assert (code, out) == (2, "") and err.startswith("Error: ") and err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    run_ranks(1, trained, replace(RUN, run_dir=folder))
    return folder


@pytest.fixture
def digit():
    """The first digit, a 0, as a file."""
    pixels = (load_digits().images[0] * (255 / 16)).round().astype(np.uint8)
    Image.fromarray(pixels).save("digit.png")
    return pixels


def evaluated(*words, processes=1):
    code, out, err = run_ranks(processes, said, "evaluate", *words, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("processes", [1, 2])
def test_evaluate_finds_the_accuracy_of_the_model_card(run, processes):
    found = evaluated(run, processes=processes)
    assert f"| selected | {100 * found['accuracy']:.2f} % | {found['images']} |" in (run / "README.md").read_text()
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    selected = next(line for line in logged if line.get("weights") == "selected")
    assert found["accuracy"] == selected["accuracy"]
    for name, value in {"loss": found["loss"], **found["terms"]}.items():
        assert value == pytest.approx(selected[name], rel=1e-5)
    confusion = torch.tensor(found["confusion"])
    assert confusion.trace() / confusion.sum() == pytest.approx(found["accuracy"])


def test_the_parts_that_evaluate_knows_are_those_of_the_training(run):
    sizes = [evaluated(run, "--split", split)["images"] for split in ("train", "validation")]
    assert sizes[1] == pytest.approx(0.1 * sum(sizes), abs=5) and sum(sizes) == 1438
    code, out, _ = run_ranks(1, said, "evaluate", run)
    assert code == 0 and "test accuracy" in out and "of 359 images" in out and "margin" in out


def test_evaluate_numbers_images_that_have_no_files(run):
    code, out, _ = run_ranks(1, said, "evaluate", run, "--csv", "-", "--split", "validation")
    header, *rows = out.splitlines()
    assert code == 0 and header == "image,class,predicted,right," + ",".join(f"score:{name}" for name in "0123456789")
    _, held = hold_out(RUN.data.build().split("train").labels, RUN.validation)
    assert [int(row.split(",")[0]) for row in rows] == held.tolist()
    plain = run_ranks(1, said, "evaluate", run)[1]
    assert plain.splitlines()[-1].startswith("Which images went wrong: --csv FILE")


def test_evaluate_takes_another_data_set_and_its_options(run):
    Path("few.py").write_text(
        "from capsnet_dist import Split, datasets\n"
        "from capsnet_dist.data import Digits\n"
        "@datasets.register('few')\n"
        "class Few(Digits):\n"
        "    '''A few digits.'''\n"
        "    def __init__(self, *, count: int = 7) -> None:\n"
        "        self.count = count\n"
        "    def split(self, name: str) -> Split:\n"
        "        return Split(*(part[:self.count] for part in super().split(name)))\n"
    )
    assert evaluated(run, "--data", "few", "--import", "few.py")["images"] == 7
    assert evaluated(run, "--data=few", "--data.count=9", "--import", "few.py")["images"] == 9


def test_evaluate_refuses_data_that_does_not_fit_and_weights_without_a_run(run):
    save(build(RUN.model, (1, 8, 8), tuple("ab")), "bare")
    assert "has no entry 'run'" in refused("evaluate", "bare")
    save(build(RUN.model, (1, 8, 8), tuple("ab")), "two", run=json.loads((run / "config.json").read_text())["run"])
    code, out, err = run_ranks(1, said, "evaluate", "two")
    assert (code, out) == (2, "") and "the network takes 1x8x8: a, b" in err


def test_predict_says_what_the_network_says(run, digit):
    expected = load(run).predict(torch.from_numpy(digit)[None, None])
    code, out, err = said("predict", run, "digit.png", "digit.png", "--json")
    assert (code, err) == (0, "")
    first, second = json.loads(out)
    assert first == second and (first["file"], first["name"]) == ("digit.png", expected.names[0])
    assert first["scores"] == pytest.approx(dict(zip("0123456789", expected.scores[0].tolist(), strict=True)))
    assert first["score"] == max(first["scores"].values())
    _, out, _ = said("predict", run, "digit.png")
    assert out.split() == ["file", "name", "score", "digit.png", expected.names[0], f"{first['score']:.3f}"]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_a_picture_of_any_mode_gives_the_channels_of_the_network(mode):
    Image.new("L", (5, 4), 255).convert(mode).save("white.png")
    for channels in (1, 3):
        pixels = Reading((channels, 4, 5))(Path("white.png")).pixels
        assert pixels.shape == (channels, 4, 5) and (pixels == 255).all()


def test_a_change_of_size_keeps_the_mean_and_is_said_apart_from_the_results(run, digit):
    Image.fromarray(digit.repeat(3, axis=0).repeat(3, axis=1)).save("large.png")
    code, out, err = said("predict", run, "large.png", "--json")
    assert code == 0 and len(json.loads(out)) == 1
    assert err == "Notice: large.png resized from 24x24 to 8x8 (height x width).\n"
    stripes = np.tile(np.array([0, 255], np.uint8), (16, 8))
    Image.fromarray(stripes).save("stripes.png")
    shrunk = Reading((1, 8, 8))(Path("stripes.png")).pixels.double()
    assert ((shrunk > 64) & (shrunk < 191)).all()  # every pixel of the file counts


def test_a_photo_is_turned_as_its_camera_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera stood on its right side
    rows = np.array([[0, 0, 255], [0, 0, 0]], np.uint8)
    Image.fromarray(rows).save("turned.png", exif=exif)
    assert (Reading((1, 3, 2))(Path("turned.png")).pixels[0].numpy() == np.rot90(rows, -1)).all()


def broken_pictures():
    Image.new("1", (10_000, 6_000)).save("bomb.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("deep.png")
    Image.new("L", (64, 64)).save("whole.png")
    Path("half.png").write_bytes(Path("whole.png").read_bytes()[:60])
    Path("text.png").write_text("no picture")
    Path("empty.png").touch()
    Path("postscript.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("absent.png", "absent.png cannot be read as an image: No such file or directory."),
        ("bomb.png", "bomb.png has 6000x10000 pixels, more than 50,000,000: make it smaller first."),
        ("deep.png", "deep.png has more than 8 bits a pixel (mode I;16): convert it to 8 first."),
        ("half.png", "half.png cannot be read as an image: "),
        ("text.png", "text.png is no image, or of another kind than BMP"),
        ("empty.png", "empty.png is no image"),
        ("postscript.eps", "postscript.eps is no image"),
    ],
)
def test_a_picture_that_cannot_be_read_is_one_line_and_an_empty_row_and_the_rest_goes_on(run, digit, picture, message):
    broken_pictures()
    code, out, err = said("predict", run, picture, "digit.png", "--json")
    lost, found = json.loads(out)
    complaint, count = err.splitlines()
    assert code == 1 and complaint.startswith(f"Error: {message}") and lost["error"] == complaint[7:]
    assert count == "Notice: 1 of 2 files could not be read."
    assert [lost[key] for key in ("file", "name", "score", "scores")] == [picture, None, None, None] and found["name"]


def test_mistakes_in_a_command_are_refused_in_one_line(run, digit):
    assert "at least one image" in refused("predict", run)
    Path("empty").mkdir()
    assert "empty has no images. Known endings: .bmp" in refused("predict", run, "empty")
    assert "new/*.png matches no file" in refused("predict", run, "new/*.png")
    assert "give no others beside it" in refused("predict", run, "-", "digit.png")
    assert "--csv nowhere/out.csv cannot be written" in refused("predict", run, "digit.png", "--csv", "nowhere/out.csv")
    assert "--top 0: must be at least 1" in refused("predict", run, "digit.png", "--top", "0")
    assert "--background 300: must be from 0 to 255" in refused("predict", run, "digit.png", "--background", "300")
    assert "given as a path" in refused("predict", "./absent", "digit.png")
    assert "given as a path" in refused("evaluate", "./absent", "--json")
    assert "no such file" in refused("plugins", "--import", "absent.py")
    assert "Did you mean 'routing'" in refused("plugins", "routings")
    two = models("capsnet", channels=4, kernel=3, primary_types=2, primary_kernel=3)
    save(build(two, (2, 8, 8), tuple("ab")), "stereo")
    assert "takes 2 channels" in refused("predict", "stereo", "digit.png")


def test_notices_of_loading_are_one_line_on_standard_error(run, digit, monkeypatch):
    from safetensors.torch import load_file, save_file

    save(load(run), "bare")
    save_file(load_file("bare/model.safetensors"), "bare/model.safetensors")
    config = json.loads(Path("bare/config.json").read_text())
    Path("bare/config.json").write_text(json.dumps(config | {"weights": None}))
    monkeypatch.setattr("warnings.filters", [])
    code, out, err = said("predict", "bare", "digit.png", "--json")
    assert code == 0 and json.loads(out) and err.startswith("Notice: bare/model.safetensors has no checksum")
    assert err.count("\n") == 1


def test_every_plugin_is_listed_with_options_and_owner():
    code, out, _ = said("plugins", "--json")
    listed = {(plugin["kind"], plugin["name"]): plugin for plugin in json.loads(out)}
    assert code == 0 and listed.keys() == {(registry.kind, name) for registry in REGISTRIES for name in registry}
    for plugin in listed.values():
        assert plugin["summary"] and plugin["owner"] and "error" not in plugin
    assert listed["routing", "dynamic"]["options"]["iterations"] == 3
    assert listed["model", "capsnet"]["options"]["routing"]["name"] == "dynamic"
    _, out, _ = said("plugins", "routing")
    lines = out.splitlines()
    assert len(lines) == 1 + len(list(routings)) and all(line.startswith("routing ") for line in lines[1:])
    assert "iterations=3" in next(line for line in lines if " dynamic " in line)


def test_a_package_that_fails_to_import_is_named_and_stops_nothing():
    """In a process of its own: registries remember what packages offer."""
    package = Path("site/broken_routing-1.2.dist-info")
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-routing\nVersion: 1.2\n")
    (package / "entry_points.txt").write_text("[capsnet_dist.routings]\nbroken = broken_routing:Routing\n")
    Path("site/broken_routing.py").write_text("import a_module_that_is_not_there\n")
    program = "import sys; sys.path.insert(0, 'site'); from capsnet_dist.commands.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "plugins", "routing"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if " broken " in line)
    assert "broken-routing 1.2" in line and "failed to import" in line and "a_module_that_is_not_there" in line
    assert "Routing by agreement" in done.stdout


@pytest.mark.parametrize("words", [[], ["predict"], ["evaluate"], ["plugins"]])
def test_every_command_has_help(words):
    code, out, _ = said(*words, "--help")
    assert code == 0 and "usage: capsnet-dist" in out and ("--import" in out or not words)


@pytest.mark.parametrize("command", cli.OF_RUNS)
def test_a_run_is_found_behind_every_flag_that_takes_no_value(command):
    function = cli._function(command)
    switches = [name for name, one in inspect.signature(function).parameters.items() if isinstance(one.default, bool)]
    for switch in switches:
        assert cli._named([command, f"--{switch.replace('_', '-')}", "RUN", "--import", "kept"]) == ["RUN"], switch


def test_an_unknown_command_or_option_is_answered_with_the_nearest(run):
    assert "Unknown command 'predikt'. Did you mean 'predict'? Known: bench, check" in refused("predikt", "run")
    assert "Unknown command '--json'" in refused("--json", "plugins")
    for words in (["predict", run, "digit.png", "--jsno"], ["evaluate", run, "--jsno"], ["plugins", "--jsno"]):
        code, out, err = said(*words)
        assert (code, out) == (2, "") and "--json" in err and f"run capsnet-dist {words[0]} --help" in err, err


def test_help_names_the_words_of_a_command():
    assert "RUN IMAGES" in said("predict", "--help")[1]


def test_the_version_is_said():
    code, out, _ = said("--version")
    assert code == 0 and out.startswith("capsnet-dist 0.")


def test_options_of_the_data_to_compare_on_are_flags():
    code, out, _ = said("compare", "--data", "mnist", "--help")
    assert code == 0 and "--data.root" in out


def test_a_reader_that_has_read_enough_is_no_mistake():
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "capsnet_dist.commands.main", "plugins"]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_a_number_out_of_range_in_a_saved_run_is_told_with_its_file(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "config.json"
    saved = json.loads(file.read_text())
    saved["run"]["loss"]["positive"] = 7.0
    file.write_text(json.dumps(saved))
    assert f"{file}: run.loss.positive 7.0: must be from 0 to 1." in refused("evaluate", tmp_path / "run")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("import", "a.pth", "--from", "notebook", "--out", "b", "--iterations", "0"),
            "--iterations 0: must be at least",
        ),
        (("import", "a.pth", "--from", "notebook", "--out", "b", "--size=-1"), "--size -1: must be at least 0"),
        (("import", "a.pth", "--from", "notebook", "--out", "b", "--std", "nan"), "--std nan: must be a finite number"),
    ],
)
def test_a_number_outside_the_range_of_its_flag_is_refused_before_any_work(words, message):
    assert message in refused(*words)


@pytest.mark.parametrize("command", ["compare", "reproduce", "data", "bench"])
def test_help_names_no_empty_default_and_breaks_no_sentence(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = said(command, "--help")
    assert code == 0 and "None" not in out and "(default: )" not in out and "default: ''" not in out
    texts = [line.strip("│ ") for line in out.splitlines() if line.startswith("│       ")]
    for before, after in itertools.pairwise(texts):
        ends = before.endswith((".", ")", "exit")) or after.startswith("(default")
        assert len(before) > 40 or ends, f"{before} / {after}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("data", "--data.root", "photos"),
            "--data.root: dataset 'digits' has no such option. Name one that has it",
        ),
        (("data", "--augmentation", "shift", "crop"), "--augmentation chain --augmentation.parts shift crop"),
        (("bench", "--rounds", "1"), "--rounds 1: must be at least 2."),
    ],
)
def test_a_mistake_of_newcomers_is_answered_by_what_to_write(words, message):
    assert message in refused(*words)


def test_plugins_without_options_fit_a_page():
    _, out, err = said("plugins")
    assert "iterations=3" not in out and "capsnet-dist plugins routing" in err
