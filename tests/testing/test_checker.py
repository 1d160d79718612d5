"""The checker: honest plugins pass it, each planted mistake is caught by the law that is meant for it."""

import functools
import gc
import json
import logging
import os
import random
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mutants import LAYERS, LOSSES, ROUTINGS, Honest, HonestLayer, HonestLoss, NoRouting, SignSlip

from capsnet_dist import UserError, layers, losses, routings
from capsnet_dist.config import import_plugins
from capsnet_dist.ranges import Count
from capsnet_dist.testing import (
    Broken,
    ChecksFailed,
    check_layer,
    check_loss,
    check_routing,
    check_target,
    layer,
    loss,
    parametrize_with_routing_checks,
    routing,
    run,
)
from capsnet_dist.testing.global_state import SETTINGS

KINDS = ["routing", "layer", "loss"]


@parametrize_with_routing_checks([routings(name) for name in routings])
def test_registered_routings_obey_the_laws(check):
    check()


@pytest.mark.parametrize("name", list(layers))
def test_registered_layers_obey_the_laws(name):
    check_layer(layers(name))


@pytest.mark.parametrize("name", list(losses))
def test_registered_losses_obey_the_laws(name):
    check_loss(losses(name))


@pytest.mark.parametrize(
    ("check", "honest"), [(check_routing, Honest), (check_layer, HonestLayer), (check_loss, HonestLoss)]
)
def test_an_honest_plugin_passes_everything(check, honest):
    assert {result.status for result in check(honest).results} <= {"passed", "skipped"}


def mistakes(cases):
    return pytest.mark.parametrize(
        ("mutant", "law", "words"), cases, ids=[f"{m.__name__}-{law}" for m, law, _ in cases]
    )


def caught(report, words):
    (result,) = report.results
    assert result.status in ("failed", "noted"), result
    assert words in result.message, result
    assert result.law.endswith(".")


@mistakes(ROUTINGS)
def test_a_mistake_in_a_routing_is_caught(mutant, law, words):
    caught(check_routing(mutant, only=[law], on_fail="report"), words)


@mistakes(LAYERS)
def test_a_mistake_in_a_layer_is_caught(mutant, law, words):
    caught(check_layer(mutant, only=[law], on_fail="report"), words)


@mistakes(LOSSES)
def test_a_mistake_in_a_loss_is_caught(mutant, law, words):
    caught(check_loss(mutant, only=[law], on_fail="report"), words)


ALONE = {"process_stays_untouched", "memory_layout_changes_nothing"}
ALONE |= {"batches_leave_no_statistics", "training_keeps_samples_apart"}
SLOW = {"gradients_are_exact", "gradients_stay_finite", "extremes_stay_finite_under_autocast", "exports_with_any_batch"}


@pytest.mark.parametrize(
    ("check", "cases", "laws"),
    [
        (check_routing, ROUTINGS, routing.LAWS),
        (check_layer, LAYERS, layer.LAWS),
        (check_loss, LOSSES, loss.LAWS),
    ],
    ids=KINDS,
)
def test_a_mistake_in_what_a_plugin_leaves_behind_breaks_no_other_law(check, cases, laws):
    quick = [law.name for law in laws if law.name not in SLOW]
    firsts = {law: mutant for mutant, law, _ in reversed(cases) if law in ALONE}
    assert len(firsts) >= 3
    for law, mutant in firsts.items():
        results = check(mutant, only=quick, on_fail="report").results
        assert [r.name for r in results if r.status not in ("passed", "skipped")] == [law], mutant


CHANGES = {
    "the default dtype": lambda: torch.set_default_dtype(torch.float64),
    "the default device": lambda: torch.set_default_device("meta"),
    "the gradient mode": lambda: torch.set_grad_enabled(False),
    "autocast on the CPU": lambda: torch.set_autocast_enabled("cpu", True),
    "autocast on CUDA": lambda: torch.set_autocast_dtype("cuda", torch.bfloat16),
    "the cache of autocast": lambda: torch.set_autocast_cache_enabled(False),
    "the number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
    "the precision of float32 products": lambda: torch.set_float32_matmul_precision("high"),
    "TF32 in cuBLAS": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "TF32 in cuDNN": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "whether cuDNN is used": lambda: setattr(torch.backends.cudnn, "enabled", False),
    "the benchmarks of cuDNN": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "determinism in cuDNN": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "NumPy's handling of errors": lambda: np.seterr(all="ignore"),
    "the filters of warnings": lambda: warnings.simplefilter("ignore"),
    "the environment variables": lambda: os.environ.update(SECRET="do not print me"),
    "the working directory": lambda: os.chdir(Path.cwd().parent),
    "the recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 1),
    "the garbage collector": gc.disable,
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_changed_setting_is_told_and_put_back(name):
    class Careless(HonestLoss):
        def mean(self, each):
            CHANGES[name]()
            return each.mean()

    before = {key: setting.read() for key, setting in SETTINGS.items()}
    (result,) = check_loss(Careless, only=["process_stays_untouched"], on_fail="report").results
    assert result.status == "failed"
    assert re.match(f"a step of training changes .*{name}", result.message)
    assert "do not print me" not in result.message
    assert {key: setting.read() for key, setting in SETTINGS.items()} == before


def test_a_setting_that_is_changed_for_a_while_is_no_matter():
    class Careful(HonestLoss):
        def mean(self, each):
            with torch.random.fork_rng(devices=[]), torch.enable_grad(), torch.autocast("cpu", enabled=False):
                torch.manual_seed(0)
                return each.mean()

    assert not check_loss(Careful, only=["process_stays_untouched"]).failed


@pytest.mark.parametrize(
    ("laws", "cases"),
    [(routing.LAWS, ROUTINGS), (layer.LAWS, ROUTINGS + LAYERS), (loss.LAWS, ROUTINGS + LOSSES)],
    ids=KINDS,
)
def test_every_law_has_caught_something(laws, cases):
    assert {law.name for law in laws} <= {law for _, law, _ in cases}


def test_every_law_is_in_the_guide():
    guide = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    assert [law.name for law in (*routing.LAWS, *layer.LAWS, *loss.LAWS) if f"`{law.name}`" not in guide] == []


def test_the_guide_shows_what_its_example_gives(capsys):
    guide = (Path(__file__).parents[2] / "docs" / "checking.md").read_text(encoding="utf-8")
    Path("tempered.py").write_text(guide.partition("```python\n")[2].partition("```")[0])
    run("tempered.py:Tempered")
    shown = guide.partition("```text\n")[2].partition("```")[0].splitlines()
    assert not set(shown) - {"…"} - set(capsys.readouterr().out.splitlines())


def test_classes_factories_and_choices_are_checked_alike():
    for target in (Honest, functools.partial(Honest, iterations=2), lambda *sizes: Honest(*sizes), routings("dynamic")):
        report = check_routing(target, only=["shapes_fit", "agreement_gets_the_larger_share", "options_are_plain_data"])
        assert not report.failed


class Ranged(Honest):
    def __init__(self, parts, part_dim, wholes, dim, *, iterations: Count = 3):
        super().__init__(parts, part_dim, wholes, dim, iterations=iterations)

    def refuse(self, iterations):
        """The type does."""


@pytest.mark.parametrize("target", [Ranged, functools.partial(Ranged)])
def test_the_range_of_an_option_refuses_as_a_constructor_does(target):
    assert not check_routing(target, only=["iterations_count"]).failed


def test_a_failure_tells_the_law_and_what_was_seen():
    with pytest.raises(ChecksFailed, match="in evaluation it gets 0.06.*\n.*that is routing") as told:
        check_routing(SignSlip)
    assert told.value.report.failed == ("agreement_gets_the_larger_share",)


def test_each_law_of_each_routing_is_a_test():
    cases = {case.id: case for case in parametrize_with_routing_checks([Honest, SignSlip]).args[1]}
    assert len(cases) == 2 * len(routing.LAWS)
    cases["Honest-agreement_gets_the_larger_share"].values[0]()
    with pytest.raises(Broken, match="in evaluation it gets 0.06"):
        cases["SignSlip-agreement_gets_the_larger_share"].values[0]()


def test_an_expected_failure_is_a_strict_xfail():
    reasons = {"NoRouting": {"iterations_count": "there are none"}}
    cases = parametrize_with_routing_checks([NoRouting], expected_failures=reasons).args[1]
    (marked,) = [case for case in cases if case.marks]
    assert marked.id == "NoRouting-iterations_count"
    assert marked.marks[0].name == "xfail"
    assert marked.marks[0].kwargs == {"reason": "there are none", "strict": True}
    with pytest.raises(Broken):
        marked.values[0]()


EVEN = {"agreement_gets_the_larger_share": "all wholes get the same share"}


def test_an_expected_failure_is_reported_with_its_reason():
    (result,) = check_routing(NoRouting, only=list(EVEN), expected_failures=EVEN).results
    assert result.status == "expected"
    assert result.message.startswith("all wholes get the same share (in evaluation it gets 0.25")


def test_a_plugin_may_say_itself_what_it_breaks():
    class Even(NoRouting):
        expected_failures = EVEN

    assert [result.status for result in check_routing(Even, only=list(EVEN)).results] == ["expected"]


def test_an_expected_failure_that_passes_is_a_failure():
    with pytest.raises(ChecksFailed, match="expected to fail .no idea. and does not"):
        check_routing(Honest, only=["shapes_fit"], expected_failures={"shapes_fit": "no idea"})


@pytest.mark.parametrize("names", [{"only": ["shape_fits"]}, {"expected_failures": {"shape_fits": "a reason"}}])
def test_an_unknown_check_is_answered_with_the_nearest(names):
    with pytest.raises(UserError, match="no check 'shape_fits'. Did you mean 'shapes_fit'?"):
        check_routing(Honest, **names)


def test_checking_leaves_the_random_states_alone():
    class Seeding(Honest):
        def start(self, votes, activations):
            torch.manual_seed(5)
            np.random.seed(5)
            random.seed(5)
            return super().start(votes, activations)

    before = torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()
    check_routing(Seeding, only=["shapes_fit", "agreement_gets_the_larger_share"])
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numbers).all()
    assert random.getstate()[1][:-1] != random.Random(5).getstate()[1][:-1]  # the tests' type checker draws from it


WRONG = """
import warnings

import torch
from capsnet_dist import Capsules, Routing, lengths, squash


class AlwaysSingle(Routing):
    def forward(self, votes, activations):
        print("called")
        warnings.warn("a word from the plugin")
        logits = torch.zeros(len(activations), self.parts, self.wholes)
        poses = squash(votes.combine(logits.softmax(dim=-1)))
        return Capsules(poses, lengths(poses))


class Inherits(AlwaysSingle):
    def extra_repr(self):
        return ""


def factory(*sizes):
    return AlwaysSingle(*sizes)
"""
LINE = WRONG.splitlines().index("        poses = squash(votes.combine(logits.softmax(dim=-1)))") + 1


@pytest.fixture
def wrong(monkeypatch):
    """A file whose routing is always in float32, in the working folder."""
    Path("wrong.py").write_text(WRONG)
    return "wrong.py"


@pytest.mark.filterwarnings("ignore:a word")
@pytest.mark.parametrize("name", ["AlwaysSingle", "Inherits", "factory"])
def test_an_error_is_told_with_the_line_of_the_file_that_led_to_it(wrong, name):
    target = f"{wrong}:{name}" if name != "factory" else vars(import_plugins(wrong))[name]
    check_it = check_target if isinstance(target, str) else functools.partial(check_routing, on_fail="report")
    (result,) = check_it(target, only=["couplings_are_shares"]).results
    assert (result.file, result.line) == (wrong, LINE)
    assert result.seen.startswith(f"{wrong}:{LINE}: it raised RuntimeError: expected scalar type Double")


@pytest.mark.filterwarnings("ignore:a word")
def test_one_mistake_is_told_once(wrong, capsys):
    report = check_target(f"{wrong}:AlwaysSingle")
    same = [result.name for result in report.results if result.same_as == "shapes_fit"]
    broken = [result.name for result in report.results if result.status in ("failed", "noted")]
    assert set(broken) - set(same) == {"shapes_fit", "agreement_gets_the_larger_share"} - set(same)
    assert len(same) > 15
    assert f"and {len(same)} more for the same reason" in str(report)
    assert str(report).count("expected scalar type") == 1
    assert len(str(report).splitlines()) <= 7
    capsys.readouterr()  # what the plugin printed
    assert run(f"{wrong}:AlwaysSingle", json=True) == 1
    printed = json.loads(capsys.readouterr().out)
    assert [result["name"] for result in printed["results"] if result["same_as"] == "shapes_fit"] == same
    first = printed["results"][0]
    assert (first["name"], first["file"], first["line"], first["same_as"]) == ("shapes_fit", wrong, LINE, None)


def test_the_first_law_that_is_told_is_one_that_failed():
    class NoReshape(Honest):
        def start(self, votes, activations):
            raise TypeError("always")

    laws = ["wholes_compete_across_positions", "iterations_count", "shapes_fit"]
    noted, failed, other = check_routing(NoReshape, only=laws, on_fail="report").results
    assert (noted.status, noted.same_as) == ("noted", "iterations_count")
    assert (failed.same_as, other.same_as) == (None, "iterations_count")


def test_laws_that_see_the_same_are_told_once():
    class Silent(Honest):
        def finish(self, poses):
            return super().finish(poses.detach())

        def __init__(self, parts, part_dim, wholes, dim, *, iterations: int = 3):
            super().__init__(parts, part_dim, wholes, dim, iterations=iterations)
            self.bias = torch.nn.Parameter(torch.zeros(()))

    laws = ["gradients_reach_inputs", "gradients_reach_parameters"]
    first, second = check_routing(Silent, only=laws, on_fail="report").results
    assert (first.message, second.same_as) == ("no output carries a gradient", first.name)


def test_nothing_is_logged_and_a_warning_is_said_once(wrong):
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    loggers = [logging.getLogger(name) for name in ("torch", "torch._subclasses.fake_tensor")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_target(f"{wrong}:AlwaysSingle", only=["exports_with_any_batch", "shapes_fit", "evaluation_repeats"])
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert not records
    assert [str(warning.message) for warning in caught] == ["a word from the plugin"]
    assert caught[0].lineno == WRONG.splitlines().index('        warnings.warn("a word from the plugin")') + 1


@pytest.mark.filterwarnings("ignore:a word")
def test_in_a_pipe_a_result_is_one_line(wrong, capsys):
    run(f"{wrong}:AlwaysSingle", only=["shapes_fit", "couplings_are_shares", "gradients_reach_parameters"])
    error = "it raised RuntimeError: expected scalar type Double but found Float"
    law = "Wholes come as batch x wholes x dim, with an activation each, also where a size is 1 and poses are matrices."
    assert capsys.readouterr().out.splitlines() == [
        "check                       result   what was seen, and the law",
        f"shapes_fit                  failed   wrong.py:{LINE}: {error}",
        f"                                     {law}",
        "                                     and 1 more for the same reason",
        "gradients_reach_parameters  skipped  it has no parameters",
        "routing AlwaysSingle: 2 failed, 1 skipped",
    ]


def test_on_a_terminal_the_table_fits_it(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    Path("even.py").write_text("from capsnet_dist import routings\n\neven = routings('uniform')\n")
    run("even.py:even", only=["agreement_gets_the_larger_share", "shapes_fit"])
    shown = re.sub("\x1b.*?m", "", capsys.readouterr().out).splitlines()  # without colors
    assert "routing uniform" in shown[0] and shown[-1] == "routing uniform: 1 passed, 1 expected"
    assert max(map(len, shown)) <= 70


SOURCE = """
from capsnet_dist import Routing, routings
from capsnet_dist.routing import DynamicRouting


class Backwards(DynamicRouting):
    def forward(self, votes, activations):
        agreement = votes.agreement
        votes.agreement = lambda poses: -agreement(poses)
        return super().forward(votes, activations)


backwards_twice = routings("dynamic", iterations=2)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my_routing_to_check.py"
    path.write_text(SOURCE)
    return path


def test_the_exit_status_says_whether_all_is_well(file, capsys):
    law = "agreement_gets_the_larger_share"
    assert run(f"{file}:Backwards", only=[law, "shapes_fit"]) == 1
    table = capsys.readouterr().out
    assert re.search(f"{law}.*failed.*in evaluation", table) and "1 passed, 1 failed" in table
    assert run(f"{file}:backwards_twice", json=True, only=[law]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["passed"], report["kind"], report["name"]) == (True, "routing", "dynamic")
    assert report["results"][0]["name"] == law and report["results"][0]["status"] == "passed"


def test_a_target_is_found_in_a_file_in_a_module_or_by_name(file):
    untouched = ["inputs_stay_untouched"]
    assert check_target(f"{file}:Backwards", only=untouched).name == "Backwards"
    assert check_target("capsnet_dist.loss:Margin", only=untouched).kind == "loss"
    assert check_target("convolutional", only=untouched).kind == "layer"


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("my_routing_to_check.py", "Name one: my_routing_to_check.py:MyRouting"),
        ("my_routing_to_check.py:Backward", "no 'Backward'. Did you mean 'Backwards'?"),
        ("absent_file.py:MyRouting", "no such file"),
        ("absent_module:MyRouting", "No module named 'absent_module'"),
        ("dynamics", "no routing, .* or schedule is called 'dynamics'. .*Did you mean 'dynamic'?"),
        ("pathlib:Path", "is no routing, .* or schedule, nor a choice of one"),
        ("math:sqrt", "is no routing, .* or schedule, nor a choice of one"),
    ],
)
def test_a_target_that_cannot_be_checked_is_refused(file, monkeypatch, target, message):
    monkeypatch.chdir(Path(file).parent)
    with pytest.raises(UserError, match=message):
        check_target(target)
