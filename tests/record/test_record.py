"""What surrounds a run neither ends it nor is taken for something else; what it leaves says the truth."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from conftest import run_ranks
from huggingface_hub import ModelCard
from test_train import RUN as DIGITS
from test_weights import SMALL

from capsnet_dist import Fit, Split, UserError, __version__, augmentations, build, datasets, load, save
from capsnet_dist.analysis.gallery import FIGURES
from capsnet_dist.analysis.subject import Subject
from capsnet_dist.commands.main import main
from capsnet_dist.data.digits import Digits
from capsnet_dist.kernels import backends
from capsnet_dist.processes import memory
from capsnet_dist.record import environment, folder, metrics_file, record
from capsnet_dist.record.card import Made, model_card
from capsnet_dist.record.command import command
from capsnet_dist.record.folder import RunFolder
from capsnet_dist.record.results import Evaluation
from capsnet_dist.record.saver import Saver
from capsnet_dist.saved import checkpoint
from capsnet_dist.screen import progress
from capsnet_dist.train import Trainer, train
from capsnet_dist.training.selection import Best
from capsnet_dist.training.splits import separate

pytestmark = pytest.mark.pictures

RUN = replace(DIGITS, steps=2)
CPU = torch.device("cpu")


def strict(text):
    """The contents of JSON that every reader takes."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def status(run):
    return strict((run / "STATUS.json").read_text())


def raising(error):
    def function(*_, **__):
        raise error

    return function


# What the system does not have


def no_git(patch):
    patch.setenv("PATH", "/nonexistent")


def git_that_is_no_program(patch):
    Path("bin").mkdir()
    Path("bin/git").write_text("no program")
    patch.setenv("PATH", str(Path("bin").resolve()))


def git_that_hangs(patch):
    Path("bin").mkdir()
    Path("bin/git").write_text("#!/bin/sh\nexec /bin/sleep 60")
    Path("bin/git").chmod(0o755)
    patch.setenv("PATH", str(Path("bin").resolve()))
    patch.setattr(environment, "GIT_SECONDS", 0.1)


def checkout(root):
    """A package in a repository of its own, and its commit."""
    (root / "package").mkdir(parents=True)
    (root / "package" / "__init__.py").touch()
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "package"], [*who, "commit", "-qm", f"of {root}"]):
        subprocess.run(["git", "-C", root, *words], check=True, capture_output=True)
    found = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return root / "package", found.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@pytest.mark.parametrize("git", [no_git, git_that_is_no_program, git_that_hangs])
def test_without_a_git_that_answers_there_is_no_commit(git, monkeypatch):
    package, _ = checkout(Path("own").resolve())
    git(monkeypatch)
    assert environment.commit(package) is None
    assert environment.environment(CPU)["python"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_that_of_the_package_wherever_the_user_stands(monkeypatch):
    own, its = checkout(Path("own").resolve())
    other, _ = checkout(Path("other").resolve())
    monkeypatch.chdir(other)
    monkeypatch.setenv("GIT_DIR", str(other.parent / ".git"))
    assert its.startswith(environment.commit(own)) and len(environment.commit(own)) >= 7
    (own / "__init__.py").write_text("changed = True")
    assert environment.commit(own).endswith("-dirty")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_an_installed_package_has_no_commit_even_inside_a_repository():
    other, _ = checkout(Path("other").resolve())
    installed = [other.parent / name for name in ("site/package", "untracked")]
    for package in installed:
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    assert [environment.commit(package) for package in installed] == [None, None]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL, None])
def test_a_folder_that_cannot_be_locked_is_used_with_a_warning(number, monkeypatch, capsys):
    if number is None:
        monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    else:
        monkeypatch.setattr("fcntl.flock", raising(OSError(number, os.strerror(number))))
    RunFolder(RUN).close(remove=False)
    assert "Warning: run cannot be locked (" in capsys.readouterr().err


def test_a_folder_in_use_is_still_refused():
    first = RunFolder(RUN)
    with pytest.raises(UserError, match="in use by another job: process"):
        RunFolder(replace(RUN, resume="auto"))
    first.close(remove=False)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_without_fsync_keeps_everything(number, monkeypatch):
    monkeypatch.setattr(os, "fsync", raising(OSError(number, os.strerror(number))))
    checkpoint.save(Path("checkpoints"), 1, {"model": {"weight": torch.zeros(1)}}, {}, keep=1)
    save(build(SMALL, (1, 8, 8), ("a", "b")), "net")
    written = RunFolder(RUN)
    written.log(step=1)
    written.sync()
    written.close(remove=False)
    assert checkpoint.steps(Path("checkpoints")) == [1] and load("net").classes == ("a", "b")


def test_a_full_disk_is_no_missing_fsync(monkeypatch):
    monkeypatch.setattr(os, "fsync", raising(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(Path("checkpoints"), 1, {}, {}, keep=1)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), FileNotFoundError(errno.ENOENT, "no")])
def test_without_proc_a_run_knows_less(error, monkeypatch):
    read = Path.read_text
    monkeypatch.setattr(
        Path,
        "read_text",
        lambda path, *a, **k: raising(error)() if path.is_relative_to("/proc") else read(path, *a, **k),
    )
    assert environment.environment(CPU)["device"].startswith("cpu: ")


def test_an_environment_says_which_kernels_are_taken(monkeypatch):
    assert environment.environment(CPU)["kernels"].keys() == {"instructions", "products", "routing", "convolution"}
    monkeypatch.setattr(backends, "installed", lambda _: False)
    backends.has_wide_registers.cache_clear()
    found = environment.environment(CPU)["kernels"]
    assert (found["routing"], found["convolution"]) == ("PyTorch", "PyTorch")
    assert backends.chosen(torch.device("cuda")) == {"routing": "PyTorch"}
    backends.has_wide_registers.cache_clear()
    assert memory.peak_memory() > 0


def test_a_cut_proc_gives_the_peak_of_getrusage(monkeypatch):
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "Name:\tpython\n")
    assert memory.peak_memory() > 0


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), psutil.AccessDenied(1), FileNotFoundError("/proc/stat")])
def test_without_psutil_a_line_leaves_the_memory_out(error, monkeypatch, capsys):
    monkeypatch.setattr(psutil, "Process", raising(error))
    with progress.progress("plain", 1, images_per_step=1) as shown:
        shown.step(1, {"loss": 0.5})
    line = capsys.readouterr().err
    assert "loss 0.5000" in line and "GiB" not in line
    assert command()


def test_a_terminal_that_has_gone_ends_no_run(monkeypatch):
    gone = OSError(errno.EIO, "Input/output error")
    with progress.progress("rich", 1, images_per_step=1) as bar:
        with monkeypatch.context() as patch:
            patch.setattr(bar._rich.console, "print", raising(gone))
            bar.say("nobody hears this")
        bar._rich.stop()
        monkeypatch.setattr(bar._rich, "stop", raising(gone))
    assert progress._bar_console is None


# What is only nice to have


def with_faults(run, **faults):
    """Train while functions of the record fail; what the weights and the metrics came to."""
    for name, error in faults.items():
        FIGURES[name] = raising(error)
    train(run)
    return (run.run_dir / "model.safetensors").read_bytes(), len(metrics_file.read(run.run_dir / "metrics.jsonl"))


def test_pictures_that_cannot_be_drawn_cost_pictures_and_nothing_else(capfd):
    faults = {
        "curves": RuntimeError("no font\nhere"),
        "confusion": ValueError("no backend"),
        "poses": ImportError("no matplotlib"),
        "reconstructions": SyntaxError("of Pillow"),
        "lengths": OSError(28, "No space left on device"),
    }
    weights, lines = run_ranks(1, with_faults, replace(RUN, run_dir=Path("whole")))
    assert run_ranks(1, lambda: with_faults(RUN, **faults)) == (weights, lines)
    said = capfd.readouterr().err
    assert said.count("Warning: no picture run/samples/") == 5
    assert "no picture run/samples/curves.png: RuntimeError: no font here." in said
    assert status(Path("run")) == {"state": "done", "reason": ""}
    assert "| selected |" in Path("run/README.md").read_text()


def test_a_picture_that_fails_leaves_the_network_training():
    model = build(SMALL, (1, 8, 8), ("a", "b")).train()
    model.forward = raising(RuntimeError("out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        FIGURES["reconstructions"](Subject(model, torch.zeros(1, 1, 8, 8), torch.zeros(1).long()))
    assert model.training


def fail_at_the_end(where):
    """Train, while what comes after the last step fails; the weights that are left, and those that should be."""
    trained = {}
    finish = Trainer.finish

    def failing(self):
        trained.update({name: tensor.clone() for name, tensor in self.state.best.state.items()})
        if where == "test split":
            self._evaluate = raising(RuntimeError("the test split is broken"))
        else:
            self.record._saver.wait = raising(KeyboardInterrupt("twice"))
        return finish(self)

    Trainer.finish = failing
    with pytest.raises((RuntimeError, KeyboardInterrupt)):
        train(RUN)
    found = load("run").state_dict()
    return trained.keys() == found.keys() and all(torch.equal(found[name], trained[name]) for name in found)


@pytest.mark.parametrize(
    ("where", "why"), [("test split", "RuntimeError: the test split"), ("end", "KeyboardInterrupt")]
)
def test_a_finished_training_is_not_lost_by_what_comes_after_its_last_step(where, why):
    assert run_ranks(1, fail_at_the_end, where)
    assert status(Path("run"))["state"] == "done" and status(Path("run"))["reason"].startswith(why)
    card = Path("run/README.md").read_text()
    assert ("The test split was not evaluated." in card) is (where == "test split")


def test_weights_are_tried_on_and_taken_off():
    model, other = (build(SMALL, (1, 8, 8), ("a", "b")) for _ in range(2))
    best, own = Best(), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    best.set("last", 1, [0.5, 0.0], other.state_dict())
    with pytest.raises(OSError), best.in_place({"last": model}) as held:
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in held.state_dict().items())
        raise OSError
    assert all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_a_checkpoint_that_fails_for_any_reason_is_said(monkeypatch):
    said, written = [], RunFolder(RUN)
    monkeypatch.setattr(checkpoint, "save", raising(MemoryError("no room for\na copy")))
    saver = Saver(written, 1, "cpu", said.append)
    saver.save(1, {}, {})
    saver.close()
    written.close(remove=False)
    assert said == ["Warning: no checkpoint of step 1: MemoryError: no room for a copy (1 failed so far)."]


def test_lines_of_the_metrics_that_never_found_room_are_not_lost_silently():
    written = RunFolder(RUN)
    written.log(step=1)
    Path("run/metrics.jsonl").unlink()
    with pytest.raises(UserError, match="The run folder run can no longer be written: No such file"):
        written.keep_metrics()
    written.close(remove=False)


def test_what_is_closed_in_the_end_may_fail_alone(capsys):
    closed, held = [], record.MainRecord(RUN)
    held._saver = SimpleNamespace(close=lambda: closed.append("saver"))
    held._progress = SimpleNamespace(__exit__=raising(RuntimeError("the screen")))
    held._tracker = SimpleNamespace(close=raising(ValueError("the server")))
    held.status.is_done = True
    held.__exit__(None)
    said = capsys.readouterr().err
    assert "the progress was not shown to its end: RuntimeError: the screen" in said
    assert "the tracker was not closed: ValueError: the server" in said
    assert closed == ["saver"] and status(Path("run"))["state"] == "done"
    assert held.folder._metrics.closed


# Names that nobody chose


class Noon(datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 1, 12)


def test_runs_started_in_the_same_second_have_folders_of_their_own(monkeypatch):
    monkeypatch.setattr(folder, "datetime", Noon)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: RunFolder(replace(RUN, run_dir=None)), range(8)))
    names = sorted(str(written.path.relative_to("runs/test")) for written in folders)
    assert names == sorted(["2026-01-01_12-00-00", *(f"2026-01-01_12-00-00-{number}" for number in range(2, 9))])
    for written in folders[1:]:
        written.close(remove=True)
    assert [path.name for path in Path("runs/test").iterdir()] == [folders[0].path.name]
    folders[0].close(remove=True)


def test_a_refused_run_leaves_the_folder_of_one_that_began_beside_it():
    first = RunFolder(replace(RUN, run_dir=None))
    second = RunFolder(replace(RUN, run_dir=None))
    first.close(remove=True)
    assert second.path.is_dir() and not first.path.exists()
    second.close(remove=False)


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "/etc", "a/b", "a\\b", "a\nb", "\x1b[2J"])
def test_a_name_that_would_lead_elsewhere_is_refused(name):
    with pytest.raises(UserError, match="names the folder runs/NAME: it must be printable, without / "):
        RunFolder(replace(RUN, name=name, run_dir=None))
    assert not list(Path().iterdir())


# What is written is what it says it is


def test_metrics_are_json_and_not_a_number_comes_back():
    written = RunFolder(RUN)
    written.log(step=1, split="train", loss=math.nan, accuracy=0.5)
    written.log(step=2, split="train", loss=math.inf, accuracy=0.5)
    lines = [strict(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [None, None]
    with Path("run/metrics.jsonl").open("a") as old:
        old.write('{"step": 3, "split": "train", "loss": NaN, "accuracy": 0.5}\n')
    assert all(math.isnan(line["loss"]) and line["accuracy"] == 0.5 for line in metrics_file.read(old_file()))
    written.cut_metrics(3)
    assert len(metrics_file.read(old_file())) == 3
    written.close(remove=False)


def old_file():
    return Path("run/metrics.jsonl")


@pytest.mark.parametrize("written", [None, "-Infinity"])
def test_no_rank_yet_is_json_in_a_checkpoint_and_comes_back(written):
    state = {"best": {"name": "last", "step": 0, "rank": [-math.inf, -math.inf]}, "skipped": 0, "scaler": None}
    state |= {"evaluation_due": False, "run": {}, "environment": {"odd": math.nan}}
    saved = checkpoint.save(Path("checkpoints"), 1, {"model": {}, "optimizer": {}, "best": {}}, state, keep=1)
    text = (saved / "state.json").read_text()
    assert strict(text)["best"]["rank"] == [None, None]
    if written:  # as older checkpoints have it
        old = json.dumps({"format": 2, "step": 1, **state})
        assert written in old
        found = checkpoint.check_state(Path("state.json"), json.loads(old), 1)
    else:
        found = checkpoint.load(Path("checkpoints"), 1).state
    assert found["best"]["rank"] == [-math.inf, -math.inf]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_weights_with_a_loss_that_is_no_finite_number_rank_last_among_equals(loss):
    best, model = Best(), build(SMALL, (1, 8, 8), ("a", "b"))
    confusion = torch.eye(2, dtype=torch.int64)
    best.offer("last", 1, model, Evaluation(confusion, {"margin": loss}, 2))
    assert best.rank == [1.0, -math.inf]
    best.offer("last", 2, model, Evaluation(confusion, {"margin": 5.0}, 2))
    assert best.step == 2


class Few(Digits):
    """Four images of each class: a tenth of them is none."""

    def split(self, name):
        images, labels = super().split(name)
        first = torch.cat([(labels == label).nonzero()[:4, 0] for label in range(10)])
        return Split(images[first], labels[first])


def card_of(data, **options):
    """The card of a short training on a data set."""
    if data != "digits":
        datasets.register("few")(Few)
    train(replace(RUN, data=datasets(data), batch_size=8, **options))
    return Path("run/README.md").read_text()


def test_the_card_says_that_nothing_was_held_out_where_a_share_rounds_to_none():
    card = run_ranks(1, card_of, "few")
    assert "holds the\nlast weights of step 2. The test split took no part in that." in card


def test_the_card_says_how_many_images_the_weights_were_chosen_on():
    card = run_ranks(1, lambda: card_of("digits", ema=0.0, steps=1))
    assert "holds the\nlast weights of step 1, chosen on 143 training images that were held out." in card


def test_a_data_set_without_test_images_is_refused_before_the_first_step():
    whole = Split(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.zeros(40).long())
    with pytest.raises(UserError, match="Data set digits has no test images"):
        separate(whole, Split(*(part[:0] for part in whole)), RUN)


PYTHON = "/opt/venv/bin/python"
STARTS = {
    "python recipes/digits.py --epochs 1": (["python", "recipes/digits.py", "--epochs", "1"], []),
    "python -m my.recipe --epochs 1": ([PYTHON, "-m", "my.recipe", "--epochs", "1"], []),
    "python -u recipes/digits.py": ([PYTHON, "-u", "recipes/digits.py"], []),
    "capsnet-dist bench --quick": ([PYTHON, "/opt/venv/bin/capsnet-dist", "bench", "--quick"], []),
    "accelerate launch recipes/digits.py --name 'a b'": (
        [PYTHON, "recipes/digits.py", "--name", "a b"],
        [[PYTHON, "/opt/venv/bin/accelerate", "launch", "recipes/digits.py", "--name", "a b"], ["bash"]],
    ),
    "timeout 60 torchrun --nproc-per-node 2 -m my.recipe --lr 1": (
        [PYTHON, "-u", "-m", "my.recipe", "--lr", "1"],
        [
            [PYTHON, "/opt/venv/bin/torchrun", "--nproc-per-node", "2", "-m", "my.recipe", "--lr", "1"],
            ["timeout", "60", "torchrun", "--nproc-per-node", "2", "-m", "my.recipe", "--lr", "1"],
            ["bash", "-c", "timeout 60 torchrun"],
        ],
    ),
}


@pytest.mark.parametrize("typed", STARTS)
def test_the_command_is_the_one_that_was_typed(typed, monkeypatch):
    own, ancestors = STARTS[typed]
    after_module = own[own.index("-m") + 1 :] if "-m" in own else [word for word in own[1:] if word != "-u"]
    monkeypatch.setattr(sys, "orig_argv", own)
    monkeypatch.setattr(sys, "argv", ["/somewhere/else.py", *after_module[1:]])
    above = [SimpleNamespace(cmdline=lambda words=words: words) for words in ancestors]
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(parents=lambda: above))
    assert command() == typed


def test_a_program_that_changed_its_words_is_known_by_those_it_was_started_with(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "notebook", "-f", "kernel.json"])
    monkeypatch.setattr(sys, "argv", ["recipe", "--lr", "1"])
    assert command() == "python -m notebook -f kernel.json"


def test_the_version_of_the_package_is_that_of_the_code_that_runs(monkeypatch, capsys):
    monkeypatch.setattr("importlib.metadata.version", lambda package: "9.9")  # of the one that is installed
    main(["--version"])
    assert capsys.readouterr().out == f"capsnet-dist {__version__}\n"
    assert environment.environment(CPU)["packages"]["capsnet_dist"] == __version__ != "9.9"


def test_a_card_shows_every_text_as_it_is():
    run = replace(RUN, name="<script>*a*_b_ `c` $d$ [e](f) | @g")
    model = build(SMALL, (1, 8, 8), ("a", "b"))
    made = Made("python `a` b\n# c \udcff", {"training": 1, "test": 1})
    card = model_card(run, model, "last weights", {}, made, Path('a"b\n\\'), is_done=True)
    assert r"# \<script\>\*a\*\_b\_ \`c\` \$d\$ \[e\](f) \| \@g: capsnet on digits" in card
    assert "Made by ``python `a` b\\n# c \\udcff``. Use it:" in card
    assert 'load("a\\"b\\\\n\\\\")' in card
    card.encode("utf-8")


def test_the_hub_reads_of_a_card_what_was_measured_on_what():
    run = replace(
        RUN, data=datasets("mnist"), start="hf://owner/base@v1", augmentation=augmentations("shift", pixels=2)
    )
    model = build(SMALL, (1, 8, 8), ("a", "b"))
    model.fit = Fit(8, "pad", 1, 0)
    result = Evaluation(torch.tensor([[3, 1], [0, 4]]), {"margin": 0.25}, 7)
    made = Made("capsnet-dist train mnist", {"training": 90, "validation": 10, "test": 8})
    card = model_card(run, model, "last weights", {"selected": result}, made, Path("run"), is_done=True)
    data = ModelCard(card).data
    assert (data.library_name, data.license, data.base_model) == ("capsnet_dist", "unknown", "owner/base")
    assert data.datasets == ["ylecun/mnist"] and {"capsule-network", "dynamic-routing"} < set(data.tags)
    found = {each.metric_type: each.metric_value for each in data.eval_results}
    assert found == {"accuracy": 0.875, "f1": round(result.macro_f1, 6), "loss": 0.25}
    assert data.eval_results[0].dataset_type == "ylecun/mnist" and data.model_name == run.name
    assert "| 1x8x8 | 90 | 10 | 8 |" in card and "- augmentation: shift (pixels=2)" in card
    assert "- preprocessing: pad to 8x8 pixels, 1 channel(s), on a background of shade 0 of 255" in card


def test_a_card_without_results_claims_none():
    card = model_card(
        RUN, build(SMALL, (1, 8, 8), ("a", "b")), "last weights", {}, Made("a", {}), Path("run"), is_done=False
    )
    assert ModelCard(card).data.eval_results is None and "model-index" not in card and "datasets" not in card


# Text from outside


NAMES = ("$5 and $6", "<b>a</b>", "a|b", "[bold]c[/]", "猫", "\\d_e^f", "'g'", '"h"', "*i*", "é")


class Named(Digits):
    """Digits under other names."""

    classes = NAMES


def train_named():
    datasets.register("named")(Named)
    train(replace(RUN, data=datasets("named"), run_dir=Path(os.fsdecode(b"r\xff\n[bold]\x1b[2J"))))


def test_names_and_paths_of_any_characters_are_kept_and_never_interpreted(capfd):
    run_ranks(1, train_named)
    (run,) = Path().iterdir()
    said = capfd.readouterr().err
    assert load(run).classes == NAMES
    assert "Warning" not in said and "\x1b[2J" not in said and r"r\udcff\n[bold]\x1b[2J" in said
    assert status(run)["state"] == "done" and (run / "samples" / "confusion.png").stat().st_size > 1000
    assert "no picture" not in said
    for file in ("README.md", "config.json", "environment.json"):
        (run / file).read_text(encoding="utf-8")


def train_on_classes(classes):
    Named.classes = classes
    datasets.register("named")(Named)
    with pytest.raises(UserError) as caught:
        train(replace(RUN, data=datasets("named")))
    return str(caught.value), list(Path().iterdir())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (range(10), "calls its class number 0 0: a name must be a string of printable characters that no other"),
        ((*"abcdefghi", "j\nk"), r"calls its class number 9 'j\\nk': a name must be"),
        ((*"abcdefghi", "a"), "calls its class number 9 'a': a name must be"),
        ((*"abcdefghi", ""), "calls its class number 9 '': a name must be"),
        ((*"abcdefghi", "\u202ea"), r"calls its class number 9 '\\u202ea': a name must be"),
        ("abcdefghij", "must name its classes, in a tuple of strings; got 'abcdefghij'"),
        (tuple(f"{number}{'x' * 200_000}" for number in range(10)), "config.json would have 2,00.* shorten the class"),
    ],
    ids=["integers", "line break", "twice", "empty", "bidirectional", "one string", "too long"],
)
def test_classes_that_could_not_be_loaded_are_refused_before_the_first_step(changed, message):
    if not isinstance(changed, (str, tuple)):
        changed = tuple(changed)
    said, left = run_ranks(1, train_on_classes, changed)
    assert not left
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(said)
    assert "Data set named" in said or "config.json" in said


def test_a_signal_that_comes_too_late_changes_nothing():
    assert run_ranks(1, signalled) == "done"


def signalled():
    FIGURES["curves"] = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    train(RUN)
    return status(Path("run"))["state"]
