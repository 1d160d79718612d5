"""Plugins of other packages and files: found by name, kept apart, and refused with the name of who brings them."""

import dataclasses
import functools
import inspect
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
import torch
from test_train import RUN

from capsnet_dist import Registry, Routing, UserError, datasets, losses, optimizers, routings
from capsnet_dist.commands.main import main
from capsnet_dist.config import import_plugins
from capsnet_dist.plugins import REGISTRIES
from capsnet_dist.ranges import Count, Counts, Positive
from capsnet_dist.registry import Choice
from capsnet_dist.routing import DynamicRouting
from capsnet_dist.train import train

DIGITS = Path(__file__).parents[1] / "recipes" / "digits.py"
GROUP = "capsnet_dist.routings"
TWIN = '''
from capsnet_dist import routings
from capsnet_dist.routing import DynamicRouting


@routings.register("twin")
class Twin(DynamicRouting):
    """Dynamic routing by another name."""
'''
POSITIONAL = """
    def __init__(self, parts: int, part_dim: int, wholes: int, dim: int, gain: float = 1.0):
        super().__init__(parts, part_dim, wholes, dim)
"""
STUB = "class Stub:\n    def __init__(self, parts, part_dim, wholes, dim, *, gain: float = 1.0): ...\n"


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
    fresh = Registry("routing", structure=routings.structure, builtin="capsnet_dist.routing", group=GROUP)
    fresh.register("dynamic")(DynamicRouting)
    return fresh


def test_a_routing_of_an_installed_package_trains_by_name():
    with zipfile.ZipFile("twin_capsules-1.2-py3-none-any.whl", "w") as wheel:
        for file, text in package("twin_capsules", TWIN, {"twin": "Twin"}).items():
            wheel.writestr(file, text)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", "site"]
    subprocess.run([*pip, wheel.filename], check=True, capture_output=True, timeout=120)
    words = ["--model.routing", "twin", "--model.routing.iterations", "2", "--steps", "2", "--run-dir", "run"]
    words += ["--model.decoder", "none", "--regularizer", "none"]  # fewer pictures
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


def test_a_package_whose_plugin_is_refused_is_named(install, registry):
    install("early_capsules", STUB.replace("*, ", ""), early="Stub")
    with pytest.raises(UserError, match="`gain` is positional.* It comes from early_capsules 1.2"):
        registry("early")
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
        def even(parts: int, part_dim: int, wholes: int, dim: int, *, gain: float = gain): ...

        return registry.register("even")(even)

    cell(1.0)
    again = cell(2.0)
    assert registry["even"] is again
    assert registry("even").options == {"gain": 2.0}


def no_type(parts, part_dim, wholes, dim, *, gain=1.0): ...
def no_default(parts, part_dim, wholes, dim, *, gain: float): ...
def any_word(parts, part_dim, wholes, dim, **options): ...
def any_size(*sizes, gain: float = 1.0): ...
def default(parts, part_dim, wholes, dim, gain: float = 1.0, *, bias: bool = True): ...
def defaults(parts, part_dim, wholes, dim, gain: float = 1.0, bias: bool = True): ...
def no_star(parts, part_dim, wholes, dim, gain: float): ...
def in_place_of_structure(parts, part_dim, wholes, gain: float = 1.0): ...
def given_anyway(parts, part_dim, wholes, dim=16, *, gain: float = 1.0): ...
def too_few(parts, wholes, dim, *, gain: float = 1.0): ...
def none_at_all(*, gain: float = 1.0): ...
def called_name(parts, part_dim, wholes, dim, *, name: str = "x"): ...
def called_self(parts, part_dim, wholes, dim, *, self: str = "x"): ...
def private(parts, part_dim, wholes, dim, *, _gain: float = 1.0): ...
def negated(parts, part_dim, wholes, dim, *, bias: bool = True, no_bias: bool = False): ...
def unknown_type(parts, part_dim, wholes, dim, *, gain: "Absent" = 1.0): ...  # noqa: F821 # pyright: ignore
def a_tensor(parts, part_dim, wholes, dim, *, gain: torch.Tensor = torch.ones(2)): ...
def a_list(parts, part_dim, wholes, dim, *, gains: list[float] = [1.0]): ...  # noqa: B006
def a_dictionary(parts, part_dim, wholes, dim, *, gains: dict[str, float] | None = None): ...
def anything(parts, part_dim, wholes, dim, *, gain: Any = 1.0): ...
def no_number(parts, part_dim, wholes, dim, *, gain: Positive = None): ...  # pyright: ignore
def half(parts, part_dim, wholes, dim, *, count: Count = 2.5): ...  # pyright: ignore
def yes(parts, part_dim, wholes, dim, *, count: int = True): ...
def one_of_two(parts, part_dim, wholes, dim, *, mode: Literal["a", "b"] = "c"): ...  # pyright: ignore
def a_name(parts, part_dim, wholes, dim, *, routing: Choice[Routing] = "dynamic"): ...  # pyright: ignore
def numbers(parts, part_dim, wholes, dim, *, sizes: Counts = (1, 2.5)): ...  # pyright: ignore


class WithoutInit(torch.nn.Module):
    pass


@dataclasses.dataclass
class Data:
    parts: int
    part_dim: int
    wholes: int
    dim: int
    gain: float = 1.0


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        (no_type, "option 'gain' needs a type and a default"),
        (no_default, "option 'gain' needs a type and a default"),
        (any_word, r"\*\*options hides its options; name each one"),
        (any_size, r"\*sizes hides its arguments; name each one"),
        (WithoutInit, r"it has no __init__ of its own, and that of Module does not say .*\*args hides"),
        (default, "`gain` is positional, so nobody can set it. Make `gain` keyword-only: put `\\*,` before it"),
        (defaults, "`gain`, `bias` are positional, .*\\. Make `gain`, `bias` keyword-only: put `\\*,` before them"),
        (functools.partial(default, bias=False), "Make `gain` keyword-only: put `\\*,` before it"),
        (no_star, "Make `gain` keyword-only"),
        (Data, r"`gain` is positional, .*Write @dataclass\(kw_only=True\)"),
        (in_place_of_structure, r"Make `gain` keyword-only.*routing\(parts, part_dim, wholes, dim, \*, options\)"),
        (given_anyway, "`dim` always comes from the builder: remove the default"),
        (too_few, r"it takes only `parts`, `wholes`, `dim`.*routing\(parts, part_dim, wholes, dim, \*, options\)"),
        (none_at_all, "it takes no positional argument: name all that it is built from"),
        (functools.partial(too_few, gain=2.0), "it takes only `parts`, `wholes`, `dim`"),
        (called_name, "option 'name' cannot be set on the command line: give it another name"),
        (called_self, "option 'self' cannot be set"),
        (private, "option '_gain' cannot be set"),
        (negated, "option 'no_bias' cannot be set"),
        (unknown_type, "types of its signature cannot be read .name 'Absent' is not defined"),
        (a_tensor, "option 'gain' has the type torch.Tensor; it must be int, float"),
        (a_list, "option 'gains' has the type list"),
        (a_dictionary, "option 'gains' has the type dict"),
        (anything, "option 'gain' has the type .*Any"),
        (no_number, "option 'gain' must be float; its default is None"),
        (half, "option 'count' must be int; its default is 2.5"),
        (yes, "option 'count' must be int; its default is True"),
        (one_of_two, r"option 'mode' must be .*Literal\['a', 'b'\]; its default is 'c'"),
        (a_name, "option 'routing' must be .*Choice.*; its default is 'dynamic'"),
        (numbers, "option 'sizes' must be tuple.*; its default is .1, 2.5."),
        (DynamicRouting(7, 3, 5, 4), "register a class or a function"),
    ],
)
def test_what_nobody_could_set_or_save_is_not_registered(registry, plugin, message):
    with pytest.raises(UserError, match=f"routing 'odd'.*{message}"):
        registry.register("odd")(plugin)
    assert "odd" not in registry


def plain(
    parts,
    part_dim,
    wholes,
    dim,
    /,
    *,
    file: Path = Path("x"),
    gain: Positive = 1,
    limit: float | None = None,
    mode: Literal["a", "b"] = "a",
    routing: Choice[Routing] = routings("dynamic"),
    routings: tuple[Choice[Routing], ...] = (),
    sizes: Counts = (1, 2),
    pair: tuple[int, str] = (1, "a"),
): ...


@dataclasses.dataclass(kw_only=True)
class KeywordsOnly:
    weight: float = 1.0


@pytest.mark.parametrize(
    ("kind", "plugin", "expected"),
    [
        (routings, plain, dict(inspect.signature(plain).parameters)),
        (routings, functools.partial(DynamicRouting, iterations=2), {"iterations": 2}),
        (losses, KeywordsOnly, {"weight": 1.0}),
        (losses, type("Bare", (), {}), {}),
        (optimizers, lambda parameters, lr: torch.optim.SGD(parameters, lr), {}),
    ],
)
def test_classes_functions_and_partials_are_registered_alike(kind, plugin, expected):
    fresh = Registry(kind.kind, structure=kind.structure, builtin="capsnet_dist.routing", group="none")
    fresh.register("odd")(plugin)
    assert fresh.options("odd").keys() >= {key for key in expected if key not in kind.structure}


def test_a_partial_can_be_registered_again_and_does_not_pass_for_what_it_wraps(registry):
    for iterations in (2, 4):
        registry.register("again")(functools.partial(DynamicRouting, iterations=iterations))
    assert registry("again").options["iterations"] == 4
    with pytest.raises(UserError, match="'dynamic' is claimed by capsnet_dist .* and by capsnet_dist"):
        registry.register("dynamic")(functools.partial(DynamicRouting, iterations=2))


def test_a_name_of_our_own_is_known_before_anything_else_was_asked(monkeypatch):
    fresh = Registry("routing", structure=routings.structure, builtin="our_own", group=GROUP)
    monkeypatch.setitem(sys.modules, "where_it_is_kept", SimpleNamespace(routings=fresh))
    monkeypatch.syspath_prepend(Path.cwd())
    Path("our_own.py").write_text(TWIN.replace("from capsnet_dist import", "from where_it_is_kept import"))
    assert "twin" in fresh


@pytest.mark.parametrize("name", [DynamicRouting, "", "-x"])
def test_a_plugin_is_registered_under_a_name(registry, name):
    with pytest.raises(UserError, match="under a name, as in register..my_routing"):
        inspect.unwrap(Registry.register)(registry, name)  # whose annotations the tests would enforce


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_plugin_of_ours_is_built_from_the_structure_of_its_kind(registry):
    for name in registry:
        taken = [p for p in inspect.signature(registry[name]).parameters.values() if p.kind is not p.KEYWORD_ONLY]
        assert tuple(p.name for p in taken) == registry.structure, name


def test_the_guide_says_what_each_kind_is_built_from():
    guide = (DIGITS.parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
    for registry in REGISTRIES:
        built = ", ".join([*registry.structure, "*", "options"])
        name = registry.group.partition(".")[2]
        assert f"| `{name}` | `{registry.kind}({built})` |" in guide


def test_an_option_that_is_not_keyword_only_ends_a_run_before_it_starts(capfd):
    Path("odd.py").write_text(TWIN.replace('"twin"', '"odd"') + POSITIONAL)
    with pytest.raises(SystemExit, match="2"):
        main(["plugins", "--import", "odd.py"])
    assert "Error: routing 'odd': `gain` is positional, so nobody can set it" in capfd.readouterr().err


def test_an_unknown_option_is_answered_with_the_nearest(registry):
    with pytest.raises(UserError, match="no option 'iteration'. Did you mean 'iterations'?"):
        registry("dynamic", iteration=2)


BROKEN = """
from capsnet_dist.plugins import {kind}

@{kind}.register("broken")
class Broken:
    def __init__({structure}):
        {{}}["missing"]
"""


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_an_error_in_a_plugin_of_a_file_is_one_message_with_the_line(registry, monkeypatch):
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    kind = registry.group.removeprefix("capsnet_dist.")
    Path("broken.py").write_text(BROKEN.format(kind=kind, structure=", ".join(["self", *registry.structure])))
    import_plugins("broken.py")
    choice = registry("broken")
    with pytest.raises(UserError, match=f"^{registry.kind} 'broken': broken.py:7: it raised KeyError: 'missing'$"):
        choice.build(*registry.structure)
    with pytest.raises(KeyError):  # as the laws want it, which tell themselves where
        choice.construct(*registry.structure)


def test_an_error_of_our_own_is_not_told_as_a_mistake_of_the_user():
    with pytest.raises(TypeError, match="missing"):
        routings("dynamic").build()


def test_a_data_set_whose_splits_cannot_be_read_ends_a_training_in_one_message(monkeypatch):
    class Unreadable:
        classes = ("a", "b")

        def split(self, name):
            raise OSError(5, "the disk is gone")

    monkeypatch.setattr(datasets, "_plugins", dict(datasets._plugins))
    datasets.register("unreadable")(Unreadable)
    message = r"^dataset 'unreadable': .*test_plugins.py:\d+: it raised OSError: \[Errno 5\] the disk is gone$"
    with pytest.raises(UserError, match=message):
        train(replace(RUN, data=datasets("unreadable")))
