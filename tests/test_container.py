"""launch/Dockerfile: what it copies and runs is there, and a linter has nothing to say."""

import json
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from capsnet_dist.commands.train import read_recipe
from capsnet_dist.config import command_line

ROOT = Path(__file__).parents[1]
FILE = ROOT / "launch" / "Dockerfile"
LINES = [line for line in FILE.read_text().splitlines() if not line.startswith("#")]
INSTRUCTIONS = [line.split(maxsplit=1) for line in "\n".join(LINES).replace("\\\n", " ").splitlines() if line]


def given(name):
    """What an instruction is given, each time that it stands there."""
    return [words for instruction, words in INSTRUCTIONS if instruction == name]


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_a_linter_has_nothing_to_say():
    done = subprocess.run(["hadolint", FILE], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")


def test_all_that_is_copied_is_there_and_is_sent_to_the_builder():
    copied = {source for words in given("COPY") for source in words.split()[:-1]}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == kept == {path.name for path in ROOT.iterdir() if path.name in copied}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"], "capsnet_dist"} <= copied


def test_what_is_installed_before_the_code_is_what_the_code_needs():
    (program,) = [words for words in given("RUN") if "python -c" in words]
    words = shlex.split(program.partition("python -c")[2])
    shutil.copy(ROOT / "pyproject.toml", ".")
    done = subprocess.run([sys.executable, "-c", words[0]], capture_output=True, text=True, check=True, timeout=60)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert done.stdout.splitlines() == [*project["dependencies"], *project["optional-dependencies"]["fast"]]


def test_the_container_is_not_root_and_its_health_is_one_step_of_everything():
    assert given("USER") == ["${USER_ID}"] and "USER_ID=1000" in given("ARG")
    (health,) = given("HEALTHCHECK")
    words = json.loads(health.partition("CMD")[2])
    assert [json.loads(words) for words in given("ENTRYPOINT")] == [words[:1]] == [["capsnet-dist"]]
    assert words[1:3] == ["train", "digits"]
    assert command_line.parse(read_recipe("digits"), words[3:]).dry_run
