import contextlib
import os
import pty
import re
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from capsnet_dist.screen import progress as module
from capsnet_dist.screen.progress import Bar, Lines, progress, say

METRICS = {"loss": 0.5, "accuracy": 0.75, "gradient_norm": 3.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_lines_come_every_ten_seconds_and_for_the_first_and_last_step(clock, capsys):
    with progress("plain", 100, images_per_step=64) as shown:
        for step in range(1, 101):
            clock.now += 0.3
            shown.step(step, METRICS)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.findall(r"step (\d+)/100", err) == ["1", "35", "69", "100"]


def test_a_line_gives_rate_of_the_last_steps_and_the_time_that_is_left(clock, capsys):
    with progress("plain", 60, images_per_step=128) as shown:
        clock.now += 100  # the first step compiles: it must not weigh on the forecast
        shown.step(1, METRICS)
        for step in range(2, 22):
            clock.now += 0.5
            shown.step(step, METRICS)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("step 21/60  0:00:20 left  loss 0.5000  accuracy 0.750  256 images/s  500 ms/step  ")
    assert 0.01 < float(line.split()[-2]) < 100, "resident memory in GiB"


def test_a_resumed_training_counts_only_its_own_steps(clock, capsys):
    with progress("plain", 100, start=90, images_per_step=100) as shown:
        for step in (91, 92):
            clock.now += 20
            shown.step(step, METRICS)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("step 91/100  loss 0.5000  accuracy 0.750  5 images/s  20 s/step")  # no forecast from it
    assert second.startswith("step 92/100  0:02:40 left  loss 0.5000  accuracy 0.750  5 images/s  20 s/step")


def test_style_none_says_only_what_it_is_told(capsys):
    with progress("none", 3, images_per_step=1) as shown:
        shown.step(1, METRICS)
        shown.say("told")
    assert capsys.readouterr().err == "told\n"


def test_only_rank_0_speaks(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    say("unheard")
    monkeypatch.setenv("RANK", "0")
    say("heard")
    assert capsys.readouterr().err == "heard\n"


@pytest.mark.parametrize(
    ("terminal", "variables", "style"),
    [
        (True, {}, Bar),
        (False, {}, Lines),
        (True, {"CI": "true"}, Lines),
        (True, {"TERM": "dumb"}, Lines),
    ],
)
def test_auto_draws_a_bar_only_for_a_person_at_a_terminal(monkeypatch, terminal, variables, style):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    assert type(progress("auto", 1, images_per_step=1)) is style


TRAINING = """
import sys, time
from capsnet_dist.screen.progress import progress, say
say("before")
with progress("auto", 300, images_per_step=128) as shown:
    for step in range(1, 301):
        time.sleep(0.003)
        shown.step(step, {"loss": 0.25, "accuracy": 0.5})
        if step == 100:
            say("a path [bold] " + "/longer/than/the/screen" * 8)
        if step == 200:
            print("a stranger", file=sys.stderr)
say("after")
"""


def on_terminal(code, **variables):
    """What a program of that code writes on a pseudo-terminal of 120 columns."""
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    environment |= {"TERM": "xterm", "COLUMNS": "120", **variables}
    keyboard, screen = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=screen, stdout=screen, stderr=screen, env=environment)
    os.close(screen)
    written = b""
    with contextlib.suppress(OSError):  # Linux ends the reading of a closed terminal so
        while chunk := os.read(keyboard, 65536):
            written += chunk
    os.close(keyboard)
    assert child.wait() == 0
    return written.decode().replace("\r\n", "\n")


def screen(written):
    """The lines that remain to be seen: a bar is one line, which return and erase write anew."""
    lines = [line.replace("\x1b[2K", "\r").rsplit("\r", 1)[-1] for line in written.split("\n")]
    return [re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", line).rstrip() for line in lines if line]


def test_the_bar_stays_below_what_is_said_and_is_drawn_at_its_own_pace():
    began = time.monotonic()
    written = on_terminal(TRAINING)
    refreshes = written.count("\x1b[2K")
    assert 2 <= refreshes <= 4 * (time.monotonic() - began) + 4, "300 steps must not draw 300 bars"
    lines = screen(written)
    assert lines[0] == "before"
    assert lines[1] == "a path [bold] " + "/longer/than/the/screen" * 8, "neither wrapped nor taken as markup"
    assert lines[2] == "a stranger"
    assert re.search(
        r"━{10} 300/300  0:00:00 left  loss 0.2500  accuracy 0.500  \d+ images/s  [\d.]+ ms/step", lines[3]
    )
    assert lines[4:] == ["after"]


def test_a_file_gets_no_escape_code_and_no_carriage_return(tmp_path):
    with open(tmp_path / "log", "wb") as log:
        subprocess.run([sys.executable, "-c", TRAINING], stderr=log, check=True)
    text = (tmp_path / "log").read_bytes()
    assert b"\x1b" not in text
    assert b"\r" not in text
    assert text.count(b"/300  ") == 2, "the first and the last step"
