"""A run folder brings the plugins of its network along, and nothing in it runs unasked."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import run_ranks
from PIL import Image
from test_cli import said
from test_train import RUN, trained

from capsnet_dist import UserError, load, models, routings
from capsnet_dist.config import import_plugins
from capsnet_dist.config.imports import imported
from capsnet_dist.record.pictures import Pictures
from capsnet_dist.record.plugins import kept
from capsnet_dist.registry import registered

ROUTING = """
from capsnet_dist import Capsules, Routing, lengths, routings
from strokes import short


@routings.register("averaging")
class Averaging(Routing):
    '''Even shares.'''

    def forward(self, votes, activations):
        poses = short(votes.combine(votes.even()))
        return Capsules(poses, lengths(poses))
"""
STROKES = "from capsnet_dist import squash\n\n\ndef short(poses):\n    return squash(poses)\n"
SMALL = dict(channels=4, kernel=3, primary_types=2, primary_kernel=3)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_of_an_author(tmp_path_factory.mktemp("author"))


def run_of_an_author(place):
    """The folder of a run, beside the sources of its plugin."""
    (place / "my_routing.py").write_text(ROUTING)
    (place / "strokes.py").write_text(STROKES)
    run_ranks(1, with_averaging, place, place / "run")
    return place / "run"


def _draw_nothing():
    """As for tests, which fixtures of a module come before."""
    Pictures.evaluated = Pictures.finished = lambda *given: None


def with_averaging(place, folder, **options):
    """Train with a routing of a file, which imports a module beside it."""
    _draw_nothing()
    sys.path.insert(0, str(place))
    import_plugins(str(place / "my_routing.py"))
    model = models("capsnet", **SMALL, routing=routings("averaging"))
    trained(replace(RUN, model=model, run_dir=folder, steps=1, **options))


@pytest.fixture
def shared(run):
    """A copy of the folder on another machine, without the author's files."""
    shutil.copytree(run, "shared")
    return Path("shared")


def test_the_folder_has_the_plugin_and_what_its_author_wrote_beside_it(run):
    assert (run / "plugins/my_routing.py").read_text() == ROUTING
    assert (run / "plugins/strokes.py").read_text() == STROKES
    (entry,) = json.loads((run / "config.json").read_text())["imports"]
    assert entry["import"] == "my_routing.py" and set(entry["files"]) == {"my_routing.py", "strokes.py"}


def test_nothing_of_this_package_is_kept_though_it_was_imported_by_name():
    import_plugins("capsnet_dist.routing.dynamic")
    assert kept(RUN).entries == [] and "capsnet_dist.routing.dynamic" not in imported
    assert not {("routing", "dynamic"), ("model", "capsnet")} & set(registered)


def test_a_missing_plugin_is_named_with_its_kept_source_and_nothing_is_run(shared):
    (shared / "plugins/my_routing.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(UserError, match=r"routing averaging of .*my_routing.py.* kept shared/plugins/my_routing.py"):
        load(shared)
    code, out, err = said("predict", shared, "digit.png")
    assert (code, out) == (2, "") and "--import kept, or in Python load(…, imports=True)" in err


def used(*words):
    """What a command prints, and what it has imported."""
    code, out, err = said(*words)
    return code, out, err, [*imported.values()][-1].entry


def test_a_colleague_uses_the_kept_plugin_or_one_of_a_file_elsewhere(shared):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("digit.png")
    Path("elsewhere").mkdir()
    Path("elsewhere/other_name.py").write_text(ROUTING.replace("from strokes import short", STROKES))
    words = ["predict", shared, "digit.png", "--json", "--import"]
    kept, own = (run_ranks(1, used, *words, source) for source in ("kept", "elsewhere/other_name.py"))
    assert kept[0] == own[0] == 0 and kept[1] == own[1] and kept[2] == own[2] == ""
    assert (kept[3], own[3]) == ("my_routing.py", "other_name.py")
    code, out, err, _ = run_ranks(1, used, "evaluate", shared, "--json", "--import=kept")
    assert code == 0 and json.loads(out)["images"] == 359, err
    assert not list(shared.rglob("__pycache__"))


def test_the_snippet_of_the_card_works_in_a_new_process_with_and_without_plugins(run, tmp_path):
    run_ranks(1, trained, replace(RUN, model=models("capsnet", **SMALL), run_dir=tmp_path / "plain", steps=1))
    program = "import torch\nimages = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)\n"
    for folder in (run, tmp_path / "plain"):
        (snippet,) = re.findall("```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
        assert ("imports=True" in snippet) == (folder == run)
        program += f"{snippet}assert len(names) == 2\n"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@pytest.mark.parametrize("file", ["my_routing.py", "strokes.py"])
def test_a_kept_source_that_was_changed_is_refused_before_it_runs(shared, file):
    with (shared / "plugins" / file).open("a") as kept:
        kept.write("raise SystemExit('it ran')\n")
    with pytest.raises(UserError, match=rf"shared/plugins/{file} is not as the run has kept it"):
        load(shared, imports=True)


@pytest.mark.parametrize(
    "change",
    [
        {"folder": ".."},
        {"folder": "plugins/.."},
        {"folder": "/etc"},
        {"files": {"../my_routing.py": "0"}},
        {"files": {"/etc/x.py": "0"}, "import": "/etc/x.py"},
        {"files": {"my_routing.py": 1}},
        {"import": "os"},
        {"files": {}},
    ],
    ids=str,
)
def test_nothing_outside_the_folder_is_imported(shared, change):
    config = json.loads((shared / "config.json").read_text())
    config["imports"][0] |= change
    (shared / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="imports must list sources in plugins/, each with its files"):
        load(shared, imports=True)


def test_a_run_that_has_kept_nothing_is_said(shared):
    config = json.loads((shared / "config.json").read_text())
    del config["imports"]
    (shared / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="lists no source of plugins that the run has kept: import your own"):
        load(shared, imports=True)
    assert "compare takes no run" in said("compare", "--import", "kept")[2]


def with_a_namesake(shared):
    """Use a kept plugin where another module has the name of one that it imports."""
    Path("strokes.py").write_text("raise_nothing = True\n")
    sys.path.insert(0, str(Path.cwd()))
    importlib.import_module("strokes")
    with pytest.raises(UserError, match=r"shared/plugins/strokes.py.*another module 'strokes' was imported from .*"):
        load(shared, imports=True)
    Path("strokes.py").write_text(STROKES)
    importlib.reload(sys.modules["strokes"])
    return load(shared, imports=True).classes


def test_a_kept_plugin_never_runs_with_a_module_that_it_was_not_kept_with(shared):
    assert run_ranks(1, with_a_namesake, shared) == tuple("0123456789")


def source_of(folder):
    """The files that are kept of a plugin which imports a module of a folder."""
    Path(folder).mkdir(parents=True)
    (Path(folder) / "strokes.py").write_text(STROKES)
    Path("my_routing.py").write_text(ROUTING)
    sys.path.insert(0, str(Path(folder).absolute()))
    import_plugins("my_routing.py")
    return set([*imported.values()][-1].files)


@pytest.mark.parametrize("folder", ["user/lib/site-packages", "system/dist-packages"])
def test_what_is_installed_is_not_kept_wherever_that_is(folder):
    assert run_ranks(1, source_of, folder) == {"my_routing.py"}
    assert run_ranks(1, source_of, "own") == {"my_routing.py", "strokes.py"}


def warned(shared):
    with pytest.warns(UserWarning, match=r"shared/plugins/my_routing.py, which the run has kept, differs"):
        load(shared, imports="my_routing.py")
    with pytest.warns(UserWarning, match="differs"):
        return load(shared).classes


def test_another_source_under_the_same_name_is_said(shared):
    Path("my_routing.py").write_text(ROUTING.replace("from strokes import short", STROKES))
    assert run_ranks(1, warned, shared) == tuple("0123456789")


def resumed(place, folder):
    (place / "strokes.py").write_text(STROKES + "# changed\n")
    with_averaging(place, folder, resume="auto")


def test_a_changed_plugin_is_said_when_a_run_goes_on(run, shared, capfd):
    place = Path("author").absolute()
    place.mkdir()
    for name in ("my_routing.py", "strokes.py"):
        shutil.copy(run.parent / name, place)
    run_ranks(1, resumed, place, shared)
    said = capfd.readouterr().err
    assert "Warning: the run goes on with other values than before: source.plugins/strokes.py: " in said
    assert "source.plugins/my_routing.py" not in said
    assert (shared / "plugins/strokes.py").read_text().endswith("# changed\n")
