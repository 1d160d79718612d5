"""Text from outside is shown as it is or escaped, in every encoding, and interpreted by nobody; JSON is JSON."""

import io
import json
import math
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from conftest import run_ranks
from test_record import NAMES, raising, strict
from test_train import RUN

from capsnet_dist import UserError, build, config, datasets, load, save
from capsnet_dist.analysis import comparison_table
from capsnet_dist.analysis.comparison import Comparison, Row
from capsnet_dist.bench import Options, command, report
from capsnet_dist.commands.main import main
from capsnet_dist.comparing.folder import made
from capsnet_dist.config import command_line
from capsnet_dist.data.reading import Reading
from capsnet_dist.figures.comparison import comparison as draw_comparison
from capsnet_dist.figures.confusion import confusion
from capsnet_dist.figures.scaling import scaling
from capsnet_dist.files import write_whole
from capsnet_dist.record import trackers
from capsnet_dist.screen import console, progress
from capsnet_dist.text import code_span, markdown, printable, reason, to_json

HOSTILE = ("a\nb", "a\rb", "\x1b[2J", "\x00", "\u202ea", "\udcff", "\u2028", "\x85", "\x07")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_does_not_show_is_escaped_wherever_it_is_printed(text, capsys):
    assert printable(text).isprintable() and printable(text).isascii()
    progress.say(text)
    console.say(text)
    console.print_table(["name", text], [[text, "1"]])
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(err.splitlines()) == 2
    assert (out + err).replace("\n", "").isprintable() and out.count(printable(text)) == 2
    assert str(UserError(f"{text} is unknown")).isprintable()
    assert reason(RuntimeError(text)).isprintable()


def test_what_shows_stays_as_it_is():
    for name in NAMES:
        assert printable(name) == name == printable(printable(name))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max_min", r"max\_min"),
        ("a|b", r"a\|b"),
        ("<img>", r"\<img\>"),
        ("[a](b)", r"\[a\](b)"),
        ("a\nb", r"a\\nb"),
        ("$x$ `y` *z* #1 @me &amp; ~s~", r"\$x\$ \`y\` \*z\* \#1 \@me \&amp; \~s\~"),
        ("99.5 % ± 0.1", "99.5 % ± 0.1"),
    ],
)
def test_markdown_takes_a_text_for_a_text(text, expected):
    assert markdown(printable(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("a", "`a`"), ("`a`", "`` `a` ``"), ("a``b", "```a``b```"), ("a\n", r"`a\n`")]
)
def test_code_holds_its_ticks(text, expected):
    assert code_span(text) == expected


def test_json_has_no_words_that_are_not_json():
    data = {"a": [math.nan, math.inf, (-math.inf, 1.5)], "b": {"c": math.nan}, "d": None, "e": True, "f": "NaN"}
    expected = {"a": [None, None, [None, 1.5]], "b": {"c": None}, "d": None, "e": True, "f": "NaN"}
    assert strict(to_json(data)) == expected and strict(to_json(data, indent=2)) == expected


def test_results_for_programs_are_json(capsys):
    console.print_json({"loss": math.nan})
    assert strict(capsys.readouterr().out) == {"loss": None}


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_encoding_takes_every_table_and_help(encoding, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    monkeypatch.setattr(sys, "stdout", stream)
    with console.any_text():
        console.print_table(["name", "±"], [[name, "–"] for name in NAMES])
    assert stream.errors == "strict"  # as its owner had it
    for words in (["plugins", "routing"], ["bench", "--help"]):
        with pytest.raises(SystemExit) if "--help" in words else console.any_text():
            main(words)
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert ("猫" if encoding == "utf-8" else r"\u732b") in text and "<b>a</b>" in text and "folder" in text


def closed():
    """What a program does whose standard streams were closed, and where the next file goes."""
    os.close(1)
    os.close(2)
    sys.stdout = sys.stderr = None
    progress.say("nowhere")
    with progress.progress("auto", 1, images_per_step=1) as shown:
        shown.step(1, {})
    main(["plugins", "routing"])
    return os.open("file", os.O_CREAT | os.O_RDWR) > 2


def test_closed_streams_end_no_program_and_no_file_takes_their_numbers():
    assert run_ranks(1, closed)


# Figures


def test_names_in_figures_are_drawn_and_not_set_as_formulas(monkeypatch):
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", raising(AssertionError("a formula")))
    names = (*NAMES[:8], "$x^2$", "long" * 100)
    law = {"factor": 1.0, "exponent": 1.0, "error": math.nan}
    row = {"axis": "capsules", "candidate": "$a$", "sizes": [1, 2], "seconds": [1.0, 2.0], "bytes": [1, 2]}
    with matplotlib.rc_context({"text.usetex": True}):
        confusion(np.eye(10, dtype=np.int64), names).savefig("a.png")
        draw_comparison([vars(Row("$em$", 1, 0.5)), vars(Row("_猫", 1))]).savefig("b.png")
        scaling([row | {"laws": {"time": law, "memory": law}}]).savefig("c.png")
    assert all(Reading((1, 8, 8))(Path(name)).pixels.shape == (1, 8, 8) for name in ("a.png", "b.png", "c.png"))


def test_pictures_of_tables_that_fail_cost_the_picture(monkeypatch, capsys):
    monkeypatch.setattr(comparison_table, "comparison", raising(RuntimeError("no font")))
    comparison_table.save([Row("max_min|2", 1, math.nan)], Comparison(RUN, "routing", ""), {}, Path())
    assert r"| max\_min\|2 |" in Path("comparison.md").read_text(encoding="utf-8")
    assert strict(Path("comparison.json").read_text())["rows"][0]["accuracy"] is None
    assert "no picture comparison.png: RuntimeError: no font." in capsys.readouterr().err


def test_of_several_that_write_one_file_at_once_each_writes_a_whole_one():
    texts = [letter * 100_000 for letter in "abcd"]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda text: write_whole(Path("results.md"), text), texts * 4))
    assert Path("results.md").read_text() in texts and [*Path().iterdir()] == [Path("results.md")]


# Folders without a name, and home


def test_a_folder_that_nobody_named_is_a_new_one():
    assert [made(None, False).name for _ in range(3)] == ["comparison", "comparison-2", "comparison-3"]
    with pytest.raises(UserError, match="File exists. Choose another folder"):
        made(Path("comparison"), False)


def test_a_second_benchmark_leaves_the_first_as_it_was(monkeypatch, capsys):
    place = {
        "command": "bench `x`",
        "commit": None,
        "packages": {"capsnet_dist": "1"},
        "device": "cpu",
        "processor": "p",
    }
    law = {"factor": 1.0, "exponent": 1.0, "error": math.nan}
    row = {"axis": "capsules", "candidate": "a|b", "batch": 1, "sizes": [1, 2], "seconds": [1.0, 2.0], "bytes": [1, 2]}
    found = {"environment": place, "cases": [], "scaling": [row | {"laws": {"time": law, "memory": law}}]}
    monkeypatch.setattr(command, "bench", lambda options: found)
    monkeypatch.setattr("capsnet_dist.figures.scaling.scaling", raising(ValueError("no font")))
    for _ in range(2):
        command.main(Options(), True, None)
    out, err = capsys.readouterr()
    assert [strict(line)["scaling"][0]["laws"]["time"]["error"] for line in out.splitlines()] == [None, None]
    assert "no picture bench/bench.png: ValueError: no font." in err and "bench-2" in err
    for folder in ("bench", "bench-2"):
        strict(Path(folder, "bench.json").read_text())
        text = Path(folder, "bench.md").read_text(encoding="utf-8")
        assert text.startswith("`` bench `x` ``, version 1, cpu, p\n") and r"a\|b" in text
    assert report.markdown(found | {"environment": place | {"commit": "abc"}}).startswith(
        "`` bench `x` ``, commit abc,"
    )


@pytest.fixture
def home(monkeypatch, tmp_path):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_tilde_is_the_home_folder_in_every_option(home):
    words = ["--run-dir=~/run", "--resume=~/old", "--data", "mnist", "--data.root=~/data"]
    run = command_line.parse(RUN, words)
    assert (run.run_dir, run.resume, run.data.options["root"]) == (home / "run", home / "old", home / "data")
    assert command_line.parse(RUN, ["--resume", "auto"]).resume == "auto"
    (home / "config.json").write_text(json.dumps({"run": {"lr": 0.5, "data": {"name": "mnist", "root": "~/data"}}}))
    (home / "plugin.py").write_text("from pathlib import Path\nPath('imported').touch()")
    run = command_line.parse(RUN, ["--config=~/config.json", "--import=~/plugin.py"])
    assert (run.lr, run.data.options["root"]) == (0.5, home / "data") and Path("imported").exists()


def test_a_tilde_is_the_home_folder_in_every_command(home, monkeypatch, capsys):
    save(build(RUN.model, (1, 8, 8), tuple("0123456789")), home / "net", run=config.to_dict(RUN))
    (home / "net" / "environment.json").write_text('{"mixed_precision": "bf16"}')
    confusion(np.eye(2, dtype=np.int64), ("a", "b")).savefig(home / "a.png")
    main(["predict", "~/net", "~/a.png", "--json"])
    (found,) = strict(capsys.readouterr().out)
    assert found["file"] == str(home / "a.png")
    main(["evaluate", "~/net", "--json"])
    assert strict(capsys.readouterr().out)["images"] == 359
    seen = []
    monkeypatch.setattr("capsnet_dist.commands.compare.compare_runs", lambda *given, **how: seen.append(given[2]) or [])
    monkeypatch.setattr("capsnet_dist.commands.bench.main", lambda *given: seen.append(given[2]))
    for words in (["compare", "--folder=~/out"], ["bench", "--folder=~/out"], ["bench"]):
        main(words)
    assert seen == [home / "out", home / "out", None] and not Path("~").exists()


def test_an_unknown_home_is_a_name_like_others():
    run = command_line.parse(RUN, ["--run-dir", "~nobody-of-that-name/run"])
    assert run.run_dir == Path("~nobody-of-that-name/run")


@pytest.mark.parametrize("name", ["a\nb", "\udcff", "[bold]", "\x1b[2J", "\u202e", "猫"])
def test_a_path_of_any_characters_comes_back_from_a_configuration(name):
    run = replace(RUN, data=datasets("mnist", root=Path(name)), run_dir=None)
    again = config.from_dict(RUN, json.loads(to_json(config.to_dict(run))))
    assert again.data.options["root"] == Path(name)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_what_no_file_can_be_called_is_no_path(name):
    with pytest.raises(UserError, match="run.data.root must be"):
        config.from_dict(RUN, {"data": {"name": "mnist", "root": name}}, "run")


def test_trackers_get_texts_that_every_server_takes():
    given = {"a": "\udcff", "b": ["\x1b", 1, None], "c": {"d": "猫"}}
    assert trackers._printable(given) == {"a": r"\udcff", "b": [r"\x1b", 1, None], "c": {"d": "猫"}}


@pytest.mark.parametrize("classes", [("a\n", "b"), ("a", "a"), ("", "b"), ()])
def test_a_network_whose_classes_cannot_be_saved_is_not_built(classes):
    with pytest.raises(UserError, match="class"):
        build(RUN.model, (1, 8, 8), classes)


def test_names_of_classes_load_as_they_were_saved():
    save(build(RUN.model, (1, 8, 8), NAMES), "net")
    assert load("net").classes == NAMES
