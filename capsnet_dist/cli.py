"""The command line `capsnet-dist`: use and inspect what was trained."""

import importlib.metadata
import inspect
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from capsnet_dist import command_line, config
from capsnet_dist.console import notices, print_json, print_table
from capsnet_dist.errors import UserError, did_you_mean, user_errors
from capsnet_dist.registry import Choice, Registry


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; a mistake of the user ends with one line on standard error and exit code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"capsnet-dist {importlib.metadata.version('capsnet_dist')}")  # noqa: T201
        return
    description = "Use and inspect capsule networks; recipes train them. --version prints the version."
    with user_errors(), notices():
        command_line.command(
            [predict, evaluate, plugins, check, compare, bench], words, description, lambda: _choices(words)
        )


def predict(run: str, images: tuple[Path, ...], /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Name the class of image files, which are converted to the network's channels and size.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub.
        images: Image files.
        json: Print JSON, with the score of every class.
    """
    import torch

    from capsnet_dist import load
    from capsnet_dist.pictures import read_picture

    if not images:
        raise UserError("predict needs at least one image: capsnet-dist predict RUN IMAGE.")
    model = load(run)
    _, scores, names = model.predict(torch.stack([read_picture(file, model.image) for file in images]))
    found: list[dict[str, Any]] = [
        {"file": str(file), "name": name, "score": max(row), "scores": dict(zip(model.classes, row, strict=True))}
        for file, name, row in zip(images, names, scores.tolist(), strict=True)
    ]
    rows = [[f["file"], f["name"], f"{f['score']:.3f}"] for f in found]
    print_json(found) if json else print_table(["file", "name", "score"], rows)


def evaluate(
    run: str,
    /,
    *,
    data: Choice[Any],
    split: Literal["test", "validation", "train"] = "test",
    json: bool = False,
    imports: tuple[str, ...] = (),
) -> None:
    """Evaluate a trained network as its training did; the test accuracy is that of "selected" on the model card.

    Args:
        run: Run folder, or owner/name on the Hugging Face Hub; it stands first.
        data: Data set; the default is that of the training, whose options RUN --help shows.
        split: "validation" is the part of "train" that was held out.
        json: Print JSON.
    """
    from capsnet_dist.evaluation import evaluate_run

    evaluate_run(run, data, split, json)


def plugins(kind: str = "", /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """List what is registered: routings, layers, networks, losses, data sets and the rest.

    Args:
        kind: Only these: routing, layer, model and so on.
        json: Print JSON.
    """
    from capsnet_dist.plugins import REGISTRIES

    kinds = {registry.kind: registry for registry in REGISTRIES}
    if kind and kind not in kinds:
        raise UserError(f"Unknown kind of plugin {kind!r}.{did_you_mean(kind, kinds)}")
    chosen = [kinds[kind]] if kind else list(kinds.values())
    found = [_describe(registry, name) for registry in chosen for name in registry]
    rows: list[list[str]] = []
    for plugin in found:
        values = {key: v["name"] if isinstance(v, dict) else v for key, v in plugin["options"].items()}
        options = ", ".join(f"{key}={value}" for key, value in values.items())
        rows.append([plugin["kind"], plugin["name"], plugin["owner"], plugin["summary"] or plugin["error"], options])
    print_json(found) if json else print_table(["kind", "name", "from", "what it is", "options"], rows)


def check(target: str, /, *, json: bool = False, imports: tuple[str, ...] = ()) -> None:
    """Check a routing, layer or loss against the laws that every plugin must obey; exit code 1 if it breaks one.

    Args:
        target: my_package.module:MyRouting, my_routing.py:MyRouting, or a registered name.
        json: Print JSON.
    """
    from capsnet_dist.testing import run

    sys.exit(run(target, json))


def compare(
    *,
    data: Choice[Any],
    routings: str = "dynamic,uniform",
    seeds: int = 3,
    steps: int | None = None,
    epochs: int = 10,
    folder: Path = Path("comparison"),
    imports: tuple[str, ...] = (),
) -> None:
    """Train each routing in turn, with the same network and settings, and print and save a table and a plot.

    Args:
        data: Data set.
        routings: Their names, separated by commas.
        seeds: Runs for each routing: seeds 0, 1, and so on.
        steps: End after this many steps, whatever the epochs.
        epochs: Passes over the training images.
        folder: Where the table and the runs go; must not exist yet.
    """
    from capsnet_dist.compare import main

    main(routings, data, seeds, steps, epochs, folder, imports)


def bench(
    *,
    impl: str = "",
    routings: str = "",
    gradients: str = "",
    networks: str = "",
    batch: str = "",
    dtypes: str = "",
    device: str = "auto",
    processes: int = 1,
    threads: int = 0,
    rounds: int = 0,
    fused_naive: bool = False,
    compile: bool = False,
    scaling: bool = True,
    quick: bool = False,
    json: bool = False,
    folder: Path = Path("bench"),
    imports: tuple[str, ...] = (),
) -> None:
    """Measure time and memory of a training step and of inference, ours and that of plain PyTorch in turns.

    Args:
        impl: Of naive, einsum, exact, ours and graphs, with commas; naive,ours if not given. "naive" is CapsNet as
            public implementations write it, "einsum" the same with the fastest votes of plain PyTorch, "exact" any
            network and routing of ours as it is defined, without fast paths, "graphs" ours, each step a CUDA graph.
        routings: Names with commas; dynamic if not given.
        gradients: Of full and last, with commas: through which rounds; both if not given.
        networks: Of paper and small, or names of other networks, which only we have; paper if not given.
        batch: Images in a step, numbers with commas; 128 if not given.
        dtypes: Of float32, tf32, bfloat16 (autocast) and float64, with commas; float32 if not given.
        device: "cpu", "cuda" or "auto".
        processes: How many train together.
        threads: Threads of each process on the CPU; 0 leaves them as PyTorch has them.
        rounds: How often each is timed; 15 if not given.
        fused_naive: Give the naive implementations our fused Adam too, instead of PyTorch's default.
        compile: Measure each also through torch.compile.
        scaling: Measure how class capsules grow with the number of capsules and of classes.
        quick: In less than a minute: a small network, batch 32, 5 rounds, full gradients, unless given otherwise.
        json: Print JSON instead of tables.
        folder: Where bench.json, bench.md and bench.png go.
    """
    from capsnet_dist.bench.command import chosen, main

    lists = {"implementations": impl, "routings": routings, "gradients": gradients, "networks": networks}
    lists |= {"batches": batch, "dtypes": dtypes}
    switches = {"fused_naive": fused_naive, "compile": compile, "scaling": scaling}
    numbers = {"processes": processes, "threads": threads, "rounds": rounds}
    main(chosen(quick, **lists, **numbers, **switches, device=device), json, folder)


def _describe(registry: Registry[Any], name: str) -> dict[str, Any]:
    found = {"kind": registry.kind, "name": name, "owner": registry.owner(name), "summary": "", "options": {}}
    try:
        found["summary"] = (inspect.getdoc(registry[name]) or "").partition("\n")[0]
        found["options"] = {key: config.to_dict(option.default) for key, option in registry.options(name).items()}
    except Exception as error:  # whatever another package's plugin raises stands beside its name
        found["error"] = str(error) if isinstance(error, UserError) else repr(error)
    return found


def _choices(words: Sequence[str]) -> dict[str, Choice[Any]]:
    """The data set that a command starts from: `evaluate RUN` from that of the run."""
    if words[:1] not in (["evaluate"], ["compare"]):
        return {}
    from capsnet_dist import datasets

    if words[0] == "compare":
        return {"data": datasets("digits")}
    from capsnet_dist.evaluation import trained_on

    switches = ("--json", "--no-json")  # the flags that take no value
    pairs = itertools.pairwise(words)
    runs = [word for before, word in pairs if word[:1] != "-" and (before in switches or before[:1] != "-")]
    return {"data": trained_on(runs[0]) if runs else datasets("digits")}


if __name__ == "__main__":
    main()
