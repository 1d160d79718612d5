"""What the documentation says works: its Python runs, its commands are understood, its examples give what they show.

A block is left out by a line `<!-- not run: reason -->` above it.
"""

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import runpy
import shlex
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import run_ranks
from PIL import Image
from test_house import FLOORS
from test_train import RUN

import capsnet_dist
from capsnet_dist import build
from capsnet_dist import train as trainer
from capsnet_dist.comparing import trial
from capsnet_dist.demo.server import Server
from capsnet_dist.run import check

ROOT = Path(__file__).parents[1]
MNIST = Path(os.environ.get("CAPSNET_DATA", ROOT.parent / "shared" / "data")).resolve()
GIVEN = "import torch\nimages = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)\n"  # what a reader has at hand
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


class Block(NamedTuple):
    """A block of code, where it stands, and the text before it."""

    file: Path
    line: int
    language: str
    code: str
    before: str

    @property
    def written(self) -> str | None:
        """The file that the reader is told to write it into."""
        found = re.search(r"Write `(\w+\.py)`:$", self.before)
        return found and found[1]

    @property
    def is_run(self) -> bool:
        """Whether the test runs it: the commands under "Start" take minutes and are run by .ci/run."""
        section = self.before.rpartition("\n## ")[2].partition("\n")[0]
        return not self.before.endswith("-->") and (self.file.name, section) != ("README.md", "Start")


def _blocks(file):
    text = file.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        before = text[: found.start()]
        yield Block(file, before.count("\n") + 1, found[1], found[2], before.rstrip())


BLOCKS = [block for file in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] for block in _blocks(file)]
COMMANDS = {
    line.split("  #")[0].strip(): f"{block.file.name}:{block.line}"
    for block in reversed(BLOCKS)
    if block.language in ("console", "sh") and block.is_run
    for line in block.code.replace("\\\n", " ").splitlines()
    if line.strip()
}
"""Where each command stands first: a reader has the same files on every page."""
PYTHON = sorted({block.file for block in BLOCKS if block.language == "python"})


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The folder of a small training on the digits: what `runs/NAME/TIME` stands for."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    run_ranks(1, trainer.train, replace(RUN, steps=3, run_dir=folder))
    return folder


@pytest.fixture
def reader(trained, tmp_path, monkeypatch):
    """A folder with what a reader has: the repository's files, a picture, and what the documentation told to write."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # for what is kept in a cache
    Image.new("L", (8, 8)).save("digit.png")
    for file in [Path(f"pictures/{name}/{number}.png") for name in ("cat", "dog") for number in range(48)]:
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(file)
    rows = [f"{name}/{number}.png,{name},{number % 24}" for name in ("cat", "dog") for number in range(48)]
    Path("pictures/labels.csv").write_text("\n".join(["file,label,person", *rows]))
    for folder in ("recipes", "launch"):
        Path(folder).symlink_to(ROOT / folder)
    for block in BLOCKS:
        if block.written:
            Path(block.written).write_text(block.code)
    return lambda text: re.sub(r"runs/\w+/TIME", str(trained), text)


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: file.name)
def test_python_in_the_documentation_runs(file, reader):
    program = GIVEN
    for block in BLOCKS:
        if block.file == file and block.language == "python" and block.is_run:
            code = f"from capsnet_dist.config import import_plugins\nimport_plugins({block.written!r})\n"
            program += f"# line {block.line}\n{code if block.written else reader(block.code)}"
    Path("program.py").write_text(program)
    used = set(re.findall(r"(?<!from )\bcapsnet_dist\.(\w+)", program))
    assert used <= {*capsnet_dist.__all__}, "the process of the tests has imported more than the program"
    run_ranks(1, _call, _recipe, ["program.py"])


@pytest.mark.parametrize("command", [pytest.param(words, id=f"{at}: {words[:60]}") for words, at in COMMANDS.items()])
def test_commands_in_the_documentation_work(command, reader, monkeypatch):
    monkeypatch.setattr(Server, "serve_forever", lambda one: None)  # until Ctrl-C
    monkeypatch.setattr(trial, "run_alone", lambda run, *_: trial.measure(run))  # not in a new process
    words = shlex.split(reader(command), comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    scripts = [position for position, word in enumerate(words) if word.startswith("recipes/")]
    if words[0] == "capsnet-dist":
        short = {
            "compare": ["--seeds", "1", "--steps", "2"],
            "robustness": ["--limit", "5", "--steps", "2", "--queries", "2"],
            "train": ["--dry-run"],
        }
        run_ranks(1, _call, _tool, words + short.get(words[1], []))
    elif words[0] in ("accelerate", "python", "sbatch") and scripts:
        assert words[0] != "sbatch" or (ROOT / words[scripts[0] - 1]).is_file()
        processes = run_ranks(1, _processes, words[2 : scripts[0] + 1]) if words[0] == "accelerate" else 1
        recipe = words[scripts[0] :]
        if "mnist" not in recipe[0] or "--config" in recipe:
            run_ranks(min(processes, 2), _call, _recipe, [*recipe, "--dry-run"])
        elif command.split()[:3] != ["accelerate", "launch", "recipes/mnist.py"] or len(recipe) > 1:
            run_ranks(1, _only_check, processes, recipe)  # MNIST at full size takes long: the plain command is run
        elif MNIST.is_dir():
            run_ranks(1, _call, _recipe, [*recipe, "--dry-run", "--batch-size", "16", "--data.root", str(MNIST)])
        else:
            pytest.skip("CAPSNET_DATA names no folder with MNIST")
    else:
        pytest.skip(f"`{words[0]}` is not ours")


def _processes(words):
    """How many processes the launcher would start: it must understand the words, and its file."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    number = _validate_launch_command(launch_command_parser().parse_args(words))[0].num_processes
    return number or 1 if isinstance(number, int) else 8  # "gpu": as many as there are


def _recipe():
    runpy.run_path(sys.argv[0], run_name="__main__")


def _tool():
    (script,) = entry_points(group="console_scripts", name="capsnet-dist")
    script.load()()


def _call(program, words):
    """Call a program with a command line; it must end well."""
    sys.argv = words
    try:
        program()
    except SystemExit as end:
        assert not end.code, f"{shlex.join(words)} ended with {end.code}"


def _only_check(processes, words):
    """Read the command line of a recipe, check the run and build its network."""

    def only_check(run, **_):
        check(run, processes)
        build(run.model, (1, 28, 28), tuple("0123456789"))

    trainer.train = only_check
    _call(_recipe, words)


def _prose(page):
    """A page without its blocks of code."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def _code(page):
    """What stands in backticks in a page."""
    return re.findall(r"`([^`\n]+)`", _prose(page))


def _exists(name):
    """Whether a dotted name is a module, or something in one; modules are not imported without need."""
    module, _, rest = name.partition(".")
    for word in rest.split("."):
        if importlib.util.find_spec(module).submodule_search_locations is None:
            break
        if importlib.util.find_spec(f"{module}.{word}") is None:
            break
        module = f"{module}.{word}"
    found = name if name == module else importlib.import_module(module)
    for attribute in filter(None, name[len(module) + 1 :].split(".")):
        if not hasattr(found, attribute):
            return attribute in getattr(found, "__annotations__", {})
        found = getattr(found, attribute)
    return True


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_and_paths_in_the_documentation_exist(page):
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    told = {name for each in PAGES for name in re.findall(r"Write `(\w+\.py)`", _prose(each))}
    for text in _code(page):
        if re.fullmatch(r"capsnet_dist(\.\w+)+(\(\))?", text):
            assert _exists(text.removesuffix("()")), text
        if found := re.fullmatch(r"((?:capsnet_dist|tests|docs|recipes|launch)/[\w./-]*)(?:::(\w+))?", text):
            path, test = found.groups()
            assert (ROOT / path).exists() or f"/{path}/" in ignored, text
            assert not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), text
        if re.fullmatch(r"\w+\.py", text) and text not in told:
            assert any(any((ROOT / folder).rglob(text)) for folder in ("capsnet_dist", "tests", "recipes")), text


def test_what_is_promised_names_tests_that_exist():
    tests = "".join(file.read_text(encoding="utf-8") for file in sorted((ROOT / "tests").rglob("test_*.py")))
    table = _prose(ROOT / "docs" / "reliability.md").partition("## What is promised")[2].partition("\n`STATUS.json`")[0]
    named = [text for text in re.findall(r"`([^`\n]+)`", table) if re.fullmatch(r"[a-z0-9_]{12,}…?", text)]
    assert len(named) > 30
    for text in named:
        assert f"def test_{text.removesuffix('…')}" in tests, text


def _anchor(heading):
    """What a link to a heading says after #."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_have_text_and_lead_somewhere(page):
    assert "{doc}" not in _prose(page) and "{ref}" not in _prose(page)
    for text, target in re.findall(r"\[([^\]]*)\]\(([^)]+)\)", _prose(page)):
        assert text, target
        path, _, anchor = target.partition("#")
        if not path.startswith(("https://", "http://")):
            file = (page.parent / path) if path else page
            assert file.exists(), target
            headings = re.findall(r"^#+ (.*)$", _prose(file), re.MULTILINE) if anchor else []
            assert not anchor or anchor in map(_anchor, headings), target


def test_every_page_is_in_a_table_of_contents():
    for folder in (ROOT / "docs", ROOT / "docs" / "routings"):
        listed = (folder / "index.md").read_text(encoding="utf-8").splitlines()
        assert not [page for page in folder.glob("*.md") if page.stem != "index" and page.stem not in listed]


def test_the_architecture_is_that_of_the_package():
    blocks = [block for block in BLOCKS if block.file.name == "architecture.md"]
    tree, floors = (block.code for block in blocks if block.language == "text")
    named = [line.split()[0] for line in tree.splitlines()[1:]]
    package = ROOT / "capsnet_dist"
    entries = {f"{entry.name}/" if entry.is_dir() else entry.name for entry in package.iterdir()}
    assert sorted(named) == sorted(entries - {"__init__.py", "py.typed", "__pycache__/"})
    assert floors.splitlines() == FLOORS


def test_examples_in_docstrings_give_what_they_show():
    examples = 0
    for found in pkgutil.walk_packages(capsnet_dist.__path__, "capsnet_dist."):
        if ".kernels" not in found.name or importlib.util.find_spec("triton"):
            failed, tried = doctest.testmod(importlib.import_module(found.name))
            assert not failed, found.name
            examples += tried
    assert examples >= 4
