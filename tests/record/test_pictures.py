"""Pictures of a run and of `capsnet-dist show`: which are drawn when, where they go, and what is said where none is."""

import json
import math
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import run_ranks
from PIL import Image
from test_cli import refused, said
from test_train import RUN

from capsnet_dist import Split, build, config, datasets, decoders, load, losses, save
from capsnet_dist.analysis.gallery import FIGURES
from capsnet_dist.data.reading import Reading
from capsnet_dist.record import pictures, record
from capsnet_dist.record.pictures import LAST, Pictures
from capsnet_dist.record.results import Evaluation
from capsnet_dist.record.trackers import Tracker
from capsnet_dist.train import train

pytestmark = pytest.mark.pictures

SHOWN = Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.arange(4))


class Blank:
    def savefig(self, file):
        Path(file).touch()


@pytest.fixture
def drawn(monkeypatch):
    """The steps at which something is drawn, in no time."""
    steps = []
    monkeypatch.setattr(pictures, "FIGURES", dict.fromkeys(FIGURES, lambda subject: Blank()))
    monkeypatch.setattr(pictures, "theme", lambda page: nullcontext())

    def make(num_steps, first=0):
        return Pictures(
            Path(), first, num_steps, lambda name, file, step: steps.append(step), lambda file: nullcontext()
        )

    return make, steps


@pytest.mark.parametrize("num_steps", [1, 7, 100, 101, 1000, 12345])
def test_at_most_a_hundred_evaluations_have_pictures_and_the_last_has(num_steps, drawn, monkeypatch):
    make, steps = drawn
    monkeypatch.setattr(pictures, "SHARE", math.inf)
    made, model = make(num_steps), build(RUN.model, (1, 8, 8), tuple("0123456789"))
    for step in range(1, num_steps + 1):
        made.evaluated(step, model, SHOWN)
    assert min(num_steps, 50) <= len(steps) <= 100 and steps[-1] == num_steps
    steps.clear()
    resumed = make(num_steps, first=num_steps - 1)
    resumed.evaluated(num_steps, model, SHOWN)
    assert steps == [num_steps]


def test_pictures_take_a_small_share_of_the_time(drawn, monkeypatch):
    make, steps = drawn
    clock = [0.0]
    monkeypatch.setattr(pictures.time, "monotonic", lambda: clock[0])

    def slow(subject):
        clock[0] += 10
        return Blank()

    monkeypatch.setitem(pictures.FIGURES, "reconstructions", slow)
    made, model = make(1000), build(RUN.model, (1, 8, 8), tuple("0123456789"))
    for step in range(10, 1000, 10):
        clock[0] += 20
        made.evaluated(step, model, SHOWN)
    assert steps[0] == 10 and 10 * len(steps) <= 0.06 * clock[0] + 10
    made.evaluated(1000, model, SHOWN)
    assert steps[-1] == 1000


class Recorded(Tracker):
    """A tracker that notes which pictures it was given."""

    def __init__(self, *_, **__):
        self.images = []
        Recorded.last = self

    def log(self, values, step):
        pass

    def image(self, title, file, step):
        assert file.read_bytes().startswith(b"\x89PNG")
        self.images.append((title, step))

    def close(self):
        pass


def trained_with(**options):
    record.Tracker = Recorded
    train(replace(RUN, steps=3, **options))
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    return Recorded.last.images, [line.get("pixel_change") for line in lines if line["split"] == "poses"]


def test_a_run_sends_all_its_pictures_to_its_tracker_and_leaves_them_in_its_folder():
    sent, (change,) = run_ranks(1, trained_with)
    assert sent == [(name, 3) for name in ("reconstructions", *LAST)] and 0 < change < 1
    assert {file.name for file in Path("run/samples").iterdir()} == {"0000003.png", *(f"{name}.png" for name in LAST)}


def test_a_network_without_a_decoder_leaves_the_other_pictures_without_a_word(capfd):
    model = RUN.model.replace(decoder=decoders("none"))
    sent, changes = run_ranks(1, lambda: trained_with(model=model, regularizer=losses("none")))
    assert sent == [(name, 3) for name in LAST if name != "poses"] and not changes
    assert "picture" not in capfd.readouterr().err


def test_the_confusion_is_that_of_the_evaluation(drawn, monkeypatch):
    make, _ = drawn
    seen = []
    monkeypatch.setitem(pictures.FIGURES, "confusion", lambda subject: seen.append(subject.counts) or Blank())
    result = Evaluation(torch.eye(10, dtype=torch.int64) * 7, {}, 70)
    made, model = make(1), build(RUN.model, (1, 8, 8), tuple("0123456789"))
    made.finished(1, model, SHOWN, [], result)
    made.finished(1, model, SHOWN, [], None)
    assert len(seen) == 1 and torch.equal(seen[0], result.confusion)


# capsnet-dist show


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What two runs leave that differ in their seeds and in nothing else that counts, and a third."""
    folder = tmp_path_factory.mktemp("runs")
    for number, (seed, lr) in enumerate([(0, 1e-3), (1, 1e-3), (0, 1e-2)]):
        torch.manual_seed(seed)
        run = config.to_dict(replace(RUN, seed=seed, lr=lr, tracker="tensorboard" if seed else "none"))
        save(build(RUN.model, (1, 8, 8), tuple("0123456789")), folder / str(number), run=run)
        lines = [{"split": "train", "step": step, "loss": 1 / step, "accuracy": 0.5} for step in range(1, 5)]
        (folder / str(number) / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


def test_every_figure_of_a_run_is_drawn(runs):
    code, out, err = said("show", runs / "0", "--number", "40", "--out", "figures")
    assert (code, err) == (0, "")
    assert out.splitlines() == [f"figures/{name}.png" for name in FIGURES if name != "overlaps"]
    assert all(Reading((3, 8, 8))(Path(file)).pixels.float().std() > 1 for file in out.splitlines())


def test_named_figures_are_drawn_in_the_format_and_for_the_page_that_are_asked_for(runs):
    code, out, _ = said("show", runs / "0", "confusion", "--page", "dark", "--out", "dark")
    assert (code, out) == (0, "dark/confusion.png\n")
    with Image.open("dark/confusion.png") as picture:
        assert max(picture.convert("RGB").getpixel((2, 2))) < 50
    assert said("show", runs / "0", "confusion", "--format", "svg")[1].endswith("figures/confusion.svg\n")
    assert said("show", runs / "0", "confusion", "--out", "paper/table.pdf")[1] == "paper/table.pdf\n"
    assert Path("paper/table.pdf").read_bytes().startswith(b"%PDF")
    assert "a file holds one figure" in refused("show", runs / "0", "confusion", "curves", "--out", "both.pdf")
    assert (runs / "0" / "figures" / "confusion.svg").read_text().startswith("<?xml")


def test_curves_of_runs_that_differ_in_their_seeds_are_one_line(runs, monkeypatch):
    seen = []
    monkeypatch.setitem(FIGURES, "curves", lambda subject: seen.append(subject.lines) or Blank())
    said("show", runs / "0", "curves", "--beside", runs / "1", runs / "2", "--out", "a")
    assert {name: len(lines) for name, lines in seen[0].items()} == {"0": 2, "2": 1}
    assert len(seen[0]["0"][0]) > 3
    assert "holds no metrics.jsonl" in refused("show", runs / "0", "curves", "--beside", "absent")


def test_image_files_are_shown_without_a_word_about_their_class(runs):
    pixels = datasets("digits").build().split("test").images[3, 0].numpy()
    Image.fromarray(pixels).save("three.png")
    code, out, err = said("show", runs / "0", "--images", "three.png", "--out", "a")
    assert code == 0 and "a/reconstructions.png" in out and "a/confusion.png" not in out
    assert "no figure confusion: the true classes of the images are not known." in err
    assert "confusion cannot be drawn: the true" in refused("show", runs / "0", "confusion", "--images", "three.png")


def test_mistakes_are_said_in_one_line(runs, tmp_path):
    run = runs / "0"
    assert "Unknown figure 'pose'. Did you mean 'poses'?" in refused("show", run, "pose")
    assert "--number 0: must be at least 1" in refused("show", run, "--number", "0")
    assert "--first 359: there are 359 images" in refused("show", run, "--first", "359")
    assert "--reach -1.0: must be positive" in refused("show", run, "--reach=-1")
    (tmp_path / "file").touch()
    assert "cannot be written" in refused("show", run, "confusion", "--out", tmp_path / "file" / "figures")
    save(load(run), "bare")
    assert "has no entry 'run'" in refused("show", "bare")


def test_damaged_metrics_give_the_curves_of_what_is_whole(runs, monkeypatch):
    seen = []
    monkeypatch.setitem(FIGURES, "curves", lambda subject: seen.append(subject.lines) or Blank())
    file = runs / "2" / "metrics.jsonl"
    with file.open("a") as metrics:
        metrics.write('[]\n{"split": "train", "step": 4, "loss"\n\x00\n{"split": "train", "step": "x"}\n')
    said("show", runs / "2", "curves", "--out", "a")
    assert all({"split", "step", "loss", "accuracy"} <= line.keys() for line in seen[0]["2"][0])
