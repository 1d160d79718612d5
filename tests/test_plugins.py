"""Plugins of other packages and files: found by name, kept apart, and refused with the name of who brings them."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from capsnet_dist import Registry, UserError
from capsnet_dist.config import import_plugins
from capsnet_dist.plugins import REGISTRIES
from capsnet_dist.routing import DynamicRouting

DIGITS = Path(__file__).parents[1] / "recipes" / "digits.py"
GROUP = "capsnet_dist.routings"
TWIN = '''
from capsnet_dist import routings
from capsnet_dist.routing import DynamicRouting


@routings.register("twin")
class Twin(DynamicRouting):
    """Dynamic routing by another name."""
'''
STUB = "class Stub:\n    def __init__(self, parts, wholes, dim, *, gain: float = 1.0): ...\n"


def package(name, source, plugins):
    """The files of a package `name` 1.2, as pip writes them, that offers `plugins`: names to attributes."""
    offers = "".join(f"{plugin} = {name}:{attribute}\n" for plugin, attribute in plugins.items())
    return {
        f"{name}.py": source,
        f"{name}-1.2.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n",
        f"{name}-1.2.dist-info/entry_points.txt": f"[{GROUP}]\n{offers}",
        f"{name}-1.2.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{name}-1.2.dist-info/RECORD": "",
    }


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put packages where importlib finds them, for one test."""

    def put(name, source, **plugins):
        for file, text in package(name, source, plugins).items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(tmp_path / name)

    return put


@pytest.fixture
def registry():
    """A registry that nobody else fills, with one plugin of our own."""
    fresh = Registry("routing", builtin="capsnet_dist.routing", group=GROUP)
    fresh.register("dynamic")(DynamicRouting)
    return fresh


def test_a_routing_of_an_installed_package_trains_by_name():
    with zipfile.ZipFile("twin_capsules-1.2-py3-none-any.whl", "w") as wheel:
        for file, text in package("twin_capsules", TWIN, {"twin": "Twin"}).items():
            wheel.writestr(file, text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", "site"]
    subprocess.run([*pip, wheel.filename], check=True, capture_output=True, timeout=120)
    words = ["--model.routing", "twin", "--model.routing.iterations", "2", "--steps", "2", "--run-dir", "run"]
    environment = os.environ | {"PYTHONPATH": "site"}
    done = subprocess.run(
        [sys.executable, DIGITS, *words], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stderr
    saved = json.loads(Path("run/config.json").read_text())
    assert saved["model"]["routing"].items() >= {"name": "twin", "iterations": 2}.items()
    assert saved["plugins"]["routing twin"] == "twin_capsules 1.2"


def test_each_kind_has_an_entry_point_group_of_its_own():
    groups = [registry.group for registry in REGISTRIES]
    assert len(set(groups)) == len(groups)
    assert all(group.startswith("capsnet_dist.") for group in groups)


def test_an_offer_is_listed_without_being_imported(install, registry):
    install("lazy_capsules", STUB, lazy="Stub")
    assert "lazy" in registry and list(registry) == ["dynamic", "lazy"]
    assert registry.owner("lazy") == "lazy_capsules 1.2"
    assert "lazy_capsules" not in sys.modules
    assert registry("lazy", gain=2.0).options == {"gain": 2.0}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import absent_module", "No module named 'absent_module'"),
        ("1 / 0", "division by zero"),
        ("def broken(", "SyntaxError"),
        ("", "has no attribute 'Stub'"),
    ],
)
def test_a_package_that_fails_to_import_is_named_and_hinders_no_other(install, registry, source, reason):
    install("broken_capsules", source, broken="Stub")
    with pytest.raises(UserError, match=f"routing 'broken' comes from broken_capsules 1.2.*{reason}"):
        registry("broken")
    assert registry("dynamic").name == "dynamic"


def test_two_packages_that_claim_a_name_are_both_named(install, registry):
    install("first_capsules", STUB, same="Stub")
    install("second_capsules", STUB, same="Stub")
    with pytest.raises(UserError, match="'same' is claimed by .*Rename or uninstall") as told:
        registry("same")
    assert "first_capsules 1.2" in str(told.value) and "second_capsules 1.2" in str(told.value)


def test_a_package_cannot_take_the_name_of_our_own(install, registry):
    install("greedy_capsules", STUB, dynamic="Stub")
    with pytest.raises(UserError, match=r"'dynamic' is claimed by capsnet_dist [\d.]+ and by greedy_capsules 1.2"):
        registry("dynamic")


def test_two_files_that_claim_a_name_are_both_named():
    for name in ("first_file", "second_file"):
        Path(f"{name}.py").write_text(TWIN.replace('"twin"', '"twin of two files"'))
    import_plugins("first_file.py")
    with pytest.raises(UserError, match=r"'twin of two files' is claimed by .*first_file.py and by .*second_file.py"):
        import_plugins("second_file.py")


def test_registering_again_from_the_same_place_replaces(registry):
    def cell(gain: float):
        def even(parts: int, wholes: int, dim: int, *, gain: float = gain): ...

        return registry.register("even")(even)

    cell(1.0)
    again = cell(2.0)
    assert registry["even"] is again
    assert registry("even").options == {"gain": 2.0}


def no_type(parts, wholes, dim, *, gain=1.0): ...
def no_default(parts, wholes, dim, *, gain: float): ...
def any_word(parts, wholes, dim, **options): ...


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (no_type, "option 'gain' needs a type and a default"),
        (no_default, "option 'gain' needs a type and a default"),
        (any_word, r"\*\*options hides its options; name each one"),
    ],
)
def test_options_must_be_named_with_a_type_and_a_default(registry, plugin, message):
    with pytest.raises(UserError, match=f"routing 'odd'.*{message}"):
        registry.register("odd")(plugin)
    assert "odd" not in registry


def test_an_unknown_option_is_answered_with_the_nearest(registry):
    with pytest.raises(UserError, match="no option 'iteration'. Did you mean 'iterations'?"):
        registry("dynamic", iteration=2)
