"""`capsnet-dist predict`: any number of files in, rows out, and each surprise is said once."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from test_cli import said

from capsnet_dist import build, datasets, models, save
from capsnet_dist.data.pictures import ahead
from capsnet_dist.data.reading import Reading
from capsnet_dist.images.fit import Fit
from capsnet_dist.images.ground import is_turned
from capsnet_dist.screen import rows

SMALL = dict(channels=4, kernel=3, primary_types=2, primary_kernel=3)
ENTRY = {"data": {"name": "digits"}}


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """An untrained network of digits, as a run leaves it."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("network")
    save(build(models("capsnet", **SMALL), (1, 8, 8), tuple("0123456789")), folder, run=ENTRY)
    return folder


@pytest.fixture(scope="module")
def digits():
    return (load_digits().images[:12] * (255 / 16)).round().astype(np.uint8)


@pytest.fixture
def folder(digits):
    """Twelve digits, some of them deeper down."""
    for number, pixels in enumerate(digits):
        file = Path(f"new/{'deeper/' if number > 9 else ''}{number:02}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return sorted(Path("new").rglob("*.png"))


def predicted(*words):
    code, out, err = said("predict", *words, "--json")
    assert code == 0, err
    return json.loads(out), err


def test_folders_patterns_names_and_standard_input_give_the_same_rows(network, folder, monkeypatch):
    expected, err = predicted(network, *folder)
    assert err == "" and len(expected) == 12
    assert predicted(network, "new")[0] == expected
    assert predicted(network, "new/*.png", "new/deeper")[0] == expected
    in_fives = predicted(network, "new/**/*.png", "--batch-size", "5")[0]
    assert [found["score"] for found in in_fives] == pytest.approx([found["score"] for found in expected])
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{file}\n" for file in folder)))
    assert predicted(network, "-")[0] == expected


def test_tables_files_and_lines_say_the_same(network, folder):
    found, _ = predicted(network, "new")
    code, out, err = said("predict", network, "new", "--csv", "out.csv", "--jsonl", "out.jsonl")
    assert (code, out, err) == (0, "", "")
    assert [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()] == found
    with open("out.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [*lines[0]] == ["file", "name", "score", *(f"score:{name}" for name in "0123456789")]
    assert [(line["file"], line["name"], float(line["score:7"])) for line in lines] == [
        (each["file"], each["name"], each["scores"]["7"]) for each in found
    ]
    assert said("predict", network, "new", "--csv", "-")[1] == Path("out.csv").read_text()
    table = said("predict", network, "new")[1].splitlines()
    assert [line.split() for line in table[1:]] == [[f["file"], f["name"], f"{f['score']:.3f}"] for f in found]


def test_the_best_classes_are_named_in_order(network, folder):
    (first, *_), _ = predicted(network, folder[0])
    (best,), _ = predicted(network, folder[0], "--top", "3")
    assert list(best["scores"].items()) == sorted(first["scores"].items(), key=lambda pair: -pair[1])[:3]
    _, out, _ = said("predict", network, folder[0], "--top", "3", "--csv", "-")
    names, line = csv.reader(out.splitlines())
    assert names == ["file", "name", "score", "name_2", "score_2", "name_3", "score_3"]
    assert line[1::2] == list(best["scores"]) and [float(score) for score in line[2::2]] == [*best["scores"].values()]


def test_no_more_classes_are_named_than_there_are(network, folder):
    code, out, err = said("predict", network, *folder[:2], "--top", "99")
    assert (code, err) == (0, "") and "name_10" in out and "name_11" not in out


def test_below_the_threshold_it_is_none_of_these(network, folder):
    (found,), _ = predicted(network, folder[0])
    for threshold, name in ((found["score"], found["name"]), (found["score"] + 0.01, None)):
        (answer,), _ = predicted(network, folder[0], f"--threshold={threshold!r}")
        assert answer == found | {"name": name}
    assert "none of these" in said("predict", network, folder[0], "--threshold", "2")[1]


def test_rows_of_files_that_cannot_be_read_are_empty_in_every_form(network, folder):
    Path("new/04.png").write_text("no picture")
    code, out, err = said("predict", network, "new", "--csv", "-", "--batch-size", "3")
    lines = out.splitlines()
    assert code == 1 and lines[5] == "new/04.png" + 12 * "," and len(lines) == 13 and len(err.splitlines()) == 2
    code, out, _ = said("predict", network, "new")
    assert code == 1 and "new/04.png         cannot be read" in out


def test_a_change_of_size_is_said_once_and_counted(network, folder, digits):
    for file, pixels in zip(folder, digits, strict=True):
        Image.fromarray(pixels).resize((20, 20)).save(file)
    _, err = predicted(network, "new")
    assert err == ("Notice: new/00.png resized from 20x20 to 8x8 (height x width).\nNotice: 12 files were resized.\n")


def test_light_strokes_on_nothing_are_laid_on_the_background(network, digits):
    Image.fromarray(digits[0]).save("plain.png")
    clear = Image.new("RGBA", (8, 8), (255, 255, 255, 0))
    clear.putalpha(Image.fromarray(digits[0]))
    clear.save("clear.png")
    assert (Reading((1, 8, 8))(Path("clear.png")).pixels[0].numpy() == digits[0]).all()
    (plain,), _ = predicted(network, "plain.png")
    (found,), err = predicted(network, "clear.png")
    assert found["scores"] == plain["scores"] and "clear.png is transparent, and laid on shade 0 of 255" in err
    assert (Reading((1, 8, 8), background=255)(Path("clear.png")).pixels == 255).all()


def test_ink_on_paper_is_noticed_once_and_turned_by_invert(network, folder, digits):
    for file, pixels in zip(folder, digits, strict=True):
        Image.fromarray(255 - pixels).save(file)
    found, err = predicted(network, "new")
    assert err.startswith("Notice: new/00.png is dark on light") and "--invert" in err and err.count("\n") == 2
    turned, err = predicted(network, "new", "--invert")
    for file, pixels in zip(folder, digits, strict=True):
        Image.fromarray(pixels).save(file)
    assert err == "" and turned == predicted(network, "new")[0] != found


@pytest.mark.parametrize("fit", [None, Fit(8, "pad", 1, 0)], ids=str)
def test_what_is_transparent_or_padded_is_not_inverted(fit):
    wide = Image.new("LA", (8, 4), (255, 0))
    wide.paste((0, 255), (2, 1, 4, 3))
    wide.save("ink.png")
    pixels = Reading((1, 8, 8), fit, background=255, is_inverted=True)(Path("ink.png")).pixels[0]
    assert pixels[0, 0] == pixels[7, 7] == 0 and pixels.max() == 255


def test_no_other_network_is_told_that_its_pictures_are_dark_on_light(digits):
    save(build(models("capsnet", **SMALL), (1, 8, 8), tuple("ab")), "bare")
    save(build(models("capsnet", **SMALL), (1, 8, 8), tuple("ab")), "paper", run={"data": {"name": "folder"}})
    Image.fromarray(255 - digits[0]).save("ink.png")
    assert predicted("bare", "ink.png")[1] == predicted("paper", "ink.png")[1] == ""


def test_most_images_of_the_data_sets_that_are_light_on_dark_are_taken_for_such():
    images = datasets("digits").build().split("test").images
    assert datasets["digits"].is_light_on_dark
    dark = torch.tensor([not is_turned(pixels.numpy(), "dark") for pixels in images])
    light = torch.tensor([is_turned(255 - pixels.numpy(), "dark") for pixels in images])
    assert dark.double().mean() > 0.99 and light.double().mean() > 0.99


def test_of_an_animated_picture_the_first_is_taken_and_said(network, digits):
    first, second = (Image.fromarray(pixels) for pixels in digits[:2])
    first.save("moving.gif", save_all=True, append_images=[second])
    (found,), err = predicted(network, "moving.gif")
    assert "moving.gif holds several pictures; the first is taken" in err
    first.save("still.gif")
    (still,), err = predicted(network, "still.gif")
    assert found["scores"] == still["scores"] and err == ""


def test_files_are_read_ahead_but_never_all():
    begun = []
    made = ahead(lambda number: begun.append(number) or 2 * number, iter(range(10_000)), 100)
    assert [next(made) for _ in range(50)] == [2 * number for number in range(50)]
    assert len(begun) <= 50 + 100 + 2 * 32
    made.close()
    assert list(ahead(str, range(100), 7)) == [str(number) for number in range(100)]


def test_a_long_table_comes_in_pages(capsys, monkeypatch):
    monkeypatch.setattr(rows, "PAGE", 3)
    table = rows.Table(["number"], lambda number: [str(number)])
    for number in range(3):
        assert capsys.readouterr().out == ""
        table.write(number)
    assert capsys.readouterr().out.split() == ["number", "0", "1", "2"]
    table.close()
    assert capsys.readouterr().out == ""


def test_a_list_of_nothing_gives_no_rows(network, monkeypatch):
    for words, expected in ((["--json"], "[]\n"), ([], "file  name  score\n"), (["--jsonl", "-"], "")):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert said("predict", network, "-", *words) == (0, expected, "")
