"""Rules of the house: imports go one way, importing is cheap, and nothing that is loaded can run code."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import capsnet_dist

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "capsnet_dist"


def _name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


TREES = {_name(file): ast.parse(file.read_text(encoding="utf-8")) for file in sorted(PACKAGE.rglob("*.py"))}


def within(module: str, *packages: str) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def imported(nodes) -> set[str]:
    """The modules that statements import; `from a import b` is a.b where that is a module of ours."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in TREES or not within(name, "capsnet_dist") else str(node.module) for name in inner}
    return found


def imports(module: str) -> set[str]:
    """What a module imports anywhere, in functions too."""
    return imported(ast.walk(TREES[module]))


def at_the_top(module: str) -> set[str]:
    """What importing a module imports."""
    nodes = list(TREES[module].body)
    for node in nodes:
        if isinstance(node, (ast.If, ast.Try, ast.With)) and "TYPE_CHECKING" not in ast.dump(node):
            nodes.extend(child for child in ast.walk(node) if isinstance(child, ast.stmt) and child is not node)
    return imported(nodes)


def reached(module: str) -> set[str]:
    """The modules of ours that a module imports, directly or through others."""
    known: set[str] = set()
    ahead = [module]
    while ahead:
        new = {name for name in imports(ahead.pop()) if name in TREES and name != "capsnet_dist"} - known
        known |= new
        ahead += new
    return known


def registers(module: str) -> bool:
    """Whether a module holds a plugin: something decorated with `registry.register(name)`."""
    decorators = [d for node in ast.walk(TREES[module]) for d in getattr(node, "decorator_list", [])]
    return any(isinstance(d, ast.Call) and getattr(d.func, "attr", "") == "register" for d in decorators)


def test_plugins_know_neither_training_nor_the_command_line():
    kinds = {module.rpartition(".")[0] for module in TREES if registers(module)}
    assert {"capsnet_dist.routing", "capsnet_dist.layer", "capsnet_dist.loss", "capsnet_dist.data"} <= kinds
    above = {f"capsnet_dist.{name}" for name in ("train", "training", "config", "saved", "commands", "run")}
    assert not [(module, found) for module in TREES if within(module, *kinds) if (found := reached(module) & above)]


FLOORS = [
    "__main__",
    "commands",
    "comparing",
    "train",
    "training bench reproduction",
    "record testing importing demo robustness",
    "analysis exporting",
    "processes saved figures model",
    "routing layer stem loss optim data run reference",
    "plugins config",
    "registry votes images",
    "signature",
    "origin",
    "kernels geometry ranges files hub",
    "screen capsules objects",
    "world",
    "errors",
    "text version",
]
"""From the roof down: each package and each module beside them."""


def floor(module: str) -> int:
    """Where the package of a module is, counted from the roof."""
    package = module.split(".")[1]
    return next(number for number, names in enumerate(FLOORS) if package in names.split())


def test_imports_go_down():
    modules = {module for module in TREES if module != "capsnet_dist"}
    for module in modules:
        assert "capsnet_dist" not in imports(module), f"{module}: import names from where they are defined"
        for name in imports(module) & modules:
            same = module.split(".")[1] == name.split(".")[1]
            assert same or floor(module) < floor(name), f"{module} imports {name}"


def test_the_trainer_knows_no_concrete_plugin():
    plugins = {module for module in TREES if registers(module)}
    assert {"capsnet_dist.routing.dynamic", "capsnet_dist.data.mnist", "capsnet_dist.loss.margin"} <= plugins
    assert not reached("capsnet_dist.train") & plugins


@pytest.mark.parametrize(
    ("package", "users"),
    [
        (
            "accelerate",
            ["training", "processes.launching", "processes.requests", "record.trackers"],
        ),
        ("tyro", ["config.command_line"]),
        ("triton", ["kernels"]),
        ("numba", ["kernels"]),
        ("llvmlite", ["kernels"]),
        ("sklearn", ["data"]),
        ("h5py", ["importing.hdf5"]),
        ("pyarrow", ["data.parquet_rows"]),
        ("matplotlib", ["figures"]),
    ],
)
def test_only_one_place_knows_a_library(package, users):
    places = {module for module in TREES if any(within(name, package) for name in imports(module))}
    assert not [place for place in places if not within(place, *(f"capsnet_dist.{user}" for user in users))]


def test_optional_packages_are_imported_where_used():
    optional = (
        "h5py",
        "pyarrow",
        "wandb",
        "tensorboard",
        "torch.utils.tensorboard",
        "triton",
        "numba",
        "llvmlite",
        "tyro",
        "sklearn",
        "scipy",
        "matplotlib",
    )
    written_in = {module for module in TREES if module.rpartition(".")[2].startswith(("numba", "llvm", "triton"))}
    written_in |= {module for module in TREES if module.endswith(("_numba", "_triton"))}  # imported where used, too
    written_in |= {module for module in TREES if within(module, "capsnet_dist.kernels.llvm")}
    for module in TREES.keys() - written_in:
        assert not [name for name in at_the_top(module) if within(name, *optional) or name in written_in], module


def test_importing_the_package_loads_only_what_a_network_needs():
    program = "import json, sys; from capsnet_dist import *; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    heavy = {"wandb", "tyro", "pyarrow", "matplotlib", "sklearn", "scipy", "torchvision.datasets", "rich", "accelerate"}
    assert not heavy & set(json.loads(done.stdout))


def test_the_version_and_the_help_do_not_wait_for_pytorch():
    program = "import sys; from capsnet_dist.commands.main import main; main({}); sys.exit('torch' in sys.modules)"
    for word in ("--version", "--help"):
        command = [sys.executable, "-c", program.format([word])]
        assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0


def test_what_is_imported_when_it_is_asked_for_is_what_type_checkers_read():
    (block,) = [node for node in TREES["capsnet_dist"].body if isinstance(node, ast.If)]
    read = {node.module.partition(".")[2]: {alias.name for alias in node.names} for node in block.body}
    assert read == {module: set(names.split()) for module, names in capsnet_dist._PLACES.items()}
    assert set.union(*read.values()) == set(capsnet_dist.__all__)
    assert all(hasattr(capsnet_dist, name) for name in capsnet_dist.__all__) and not hasattr(capsnet_dist, "absent")


def test_what_is_public_says_what_it_is():
    assert all(ast.get_docstring(tree) for tree in TREES.values())
    public = [(module, node) for module, tree in TREES.items() for node in _public(tree)]
    assert not [f"{module}:{node.lineno} {node.name}" for module, node in public if not ast.get_docstring(node)]


def _public(scope):
    """Classes, functions and methods for users; a method that overrides another is described there."""
    for node in scope.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            if "override" not in map(ast.unparse, node.decorator_list):
                yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node)


def test_nothing_that_is_loaded_can_run_code():
    pickles = ("pickle", "dill", "joblib", "shelve", "marshal")
    assert not [(module, name) for module in TREES for name in imports(module) if within(name, *pickles)]
    calls = [ast.unparse(node) for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Call)]
    unsafe = ("torch.load(", "torch.save(", "eval(", "exec(")
    (foreign,) = [call for call in calls if call.startswith(unsafe)]  # of the weights that others trained
    assert foreign.startswith("torch.load(") and "weights_only=True" in foreign
    assert "torch.load(" in ast.unparse(TREES["capsnet_dist.importing.pytorch"])
    assert not [call for call in calls if "allow_pickle=True" in call]
    assert not [call for call in calls if "load_state_dict(" in call and "strict=False" in call]


def test_types_are_shipped():
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.py")), ids=lambda file: file.stem)
def test_a_recipe_is_at_most_thirty_lines(recipe):
    assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 30
