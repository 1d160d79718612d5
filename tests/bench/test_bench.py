"""The benchmark: its opponent computes the same as ours, and its numbers are those of known sizes and times."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from test_cli import refused, said

from capsnet_dist import UserError, losses, models, routings
from capsnet_dist.bench import Options, command, floor, measure, report, scaling, tasks, worker
from capsnet_dist.bench.naive import NaiveCapsNet, naive_loss
from capsnet_dist.bench.options import Candidate, Case, reference
from capsnet_dist.bench.subject import Stages, Subject
from capsnet_dist.kernels import fast_paths_allowed
from capsnet_dist.record import environment

CPU = torch.device("cpu")
TINY = {"channels": 3, "primary_types": 2}
CASE = Case("small", 2, "float32")
NAIVE, OURS = Candidate("naive", "dynamic", "full"), Candidate("ours", "dynamic", "full")


def twins(gradient, votes):
    """Ours and the naive network with the same weights, in float64."""
    torch.manual_seed(0)
    ours = models("capsnet", routing=routings("dynamic", gradient=gradient), **TINY).build((1, 28, 28), 4).double()
    with torch.no_grad():
        ours.class_capsules.weight *= 60  # capsules half as long as can be: rounds differ
    naive = NaiveCapsNet((1, 28, 28), 4, gradient=gradient, votes=votes, **TINY).double()
    naive.load_state_dict(ours.state_dict())
    return ours, naive


def batch():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, 1, 28, 28, generator=generator, dtype=torch.float64), torch.tensor([2, 0, 3])


@pytest.mark.parametrize("votes", ["matmul", "einsum"])
@pytest.mark.parametrize("gradient", ["full", "last"])
def test_naive_and_ours_give_the_same_outputs_losses_and_gradients(gradient, votes):
    ours, naive = twins(gradient, votes)
    images, labels = batch()
    expected, found = ours(images, labels), naive(images, labels)
    torch.testing.assert_close(found, expected)
    terms = [losses(name).build()(expected, images, labels, 0.0) for name in ("margin", "reconstruction")]
    loss = terms[0]["margin"] + terms[1]["reconstruction"]
    other = naive_loss(found, images, labels)
    torch.testing.assert_close(other, loss)
    loss.backward()
    other.backward()
    for (name, parameter), twin in zip(ours.named_parameters(), naive.parameters(), strict=True):
        assert parameter.grad.abs().max() > 0, name
        torch.testing.assert_close(twin.grad, parameter.grad, rtol=1e-6, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_which_rounds_gradients_go_through_matters():
    images, labels = batch()
    gradients = []
    for gradient in ("full", "last"):
        _, naive = twins(gradient, "matmul")
        naive_loss(naive(images, labels), images, labels).backward()
        gradients.append(naive.class_capsules.weight.grad)
    assert (gradients[0] - gradients[1]).norm() > 0.1 * gradients[0].norm()


def test_without_labels_the_longest_capsule_is_rebuilt():
    ours, naive = twins("full", "matmul")
    torch.testing.assert_close(naive(batch()[0]), ours(batch()[0]))


def test_weights_load_from_one_to_the_other():
    ours, naive = twins("full", "matmul")
    ours.load_state_dict(naive.state_dict())
    assert [p.shape for p in ours.parameters()] == [p.shape for p in naive.parameters()]


def test_at_the_size_of_the_paper_it_has_the_parameters_of_the_paper():
    with torch.device("meta"):
        assert sum(p.numel() for p in NaiveCapsNet((1, 28, 28), 10).parameters()) == 8_215_568


def test_candidates_take_turns():
    turns = []
    timers = {name: lambda repeats, name=name: turns.append(name) or 1e-3 for name in "ab"}
    found = measure.alternate(timers, 3)
    assert "".join(turns) == "aabb" + 3 * "ab"  # each compiles, then is tried, then they take turns
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 3, "b": 3}


def test_what_is_short_is_repeated():
    calls = []
    measure.alternate({"a": lambda repeats: calls.append(repeats) or 0.004}, 2)
    assert calls == [1, 1, 13, 13]  # 13 x 4 ms are the first to reach 50 ms


def test_a_ratio_is_taken_round_by_round():
    """A machine that slows down to a tenth halfway does not change it."""
    assert measure.ratios([2.0, 2.0, 20.0, 20.0], [1.0, 1.0, 10.0, 10.0]) == (2, 2, 2)
    assert measure.Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]) == (2, 3, 4)


def test_a_power_law_is_found_again():
    sizes = [1, 2, 4, 8]
    exponent, error, factor = measure.fit_power_law(sizes, [3 * n**1.5 for n in sizes])
    assert (exponent, error, factor) == (pytest.approx(1.5), pytest.approx(0, abs=1e-6), pytest.approx(3))
    noisy = measure.fit_power_law(sizes[:3], [1.0, 3.0, 4.0])
    assert noisy.exponent == pytest.approx(1.0) and noisy.error == pytest.approx(0.3378, abs=1e-4)
    assert measure.fit_power_law(sizes[:2], [0.0, 1.0]) is None


def test_operations_are_those_of_the_papers_sizes():
    products = [400 * 81 * 256, 36 * 81 * 256 * 256, 1152 * 10 * 16 * 8, 160 * 512 + 512 * 1024 + 1024 * 784]
    found = floor.direct_operations("paper", 2)
    assert found["infer"] == 2 * 2 * sum(products)
    assert found["train"] == 2 * 2 * (3 * sum(products) - products[0])  # images take no gradient


def test_the_floor_is_the_longer_of_operations_and_transport():
    rates = measure.Rates(matrix=10.0, copy=100.0)
    assert floor.floor(50, 100, rates) == 5
    assert floor.floor(5, 1000, rates) == 10


def test_a_large_product_is_nearer_the_measured_rate_than_a_small_one():
    clock = measure.Clock(CPU)
    rates = measure.measure_rates(clock, torch.float32, rounds=2)
    a = torch.rand(16, 16)
    seconds = min(measure.timed(clock, lambda: a @ a, 100) for _ in range(3))
    assert rates.matrix > 2 * 16**3 / seconds
    assert 1e8 < rates.copy < 1e13


@pytest.mark.parametrize("candidate", [NAIVE, OURS], ids=lambda candidate: candidate.label)
def test_stages_make_up_the_step(candidate):
    subject = Subject(candidate, CASE, CPU, fused=False, processes=1)
    clock = measure.Clock(CPU)
    stages = Stages(subject, clock)
    start = clock.now()
    (step,) = stages.steps(1)
    assert set(step) == {"forward", "stem", "primary", "routing", "decoder", "loss", "backward", "optimizer"}
    assert all(seconds > 0 for seconds in step.values())
    assert sum(step.values()) <= clock.seconds(start, clock.now())
    poses = 2 * 288 * 8 + 2 * 10 * 16
    assert stages.numbers >= 2 * (784 + 32 * 400 + 784) + poses  # images, maps and rebuilt images, of 2 samples each


def test_training_in_a_benchmark_learns():
    subject = Subject(OURS, CASE, CPU, fused=False, processes=1)
    before = subject.loss(subject.model(subject.images, subject.labels))
    for _ in range(5):
        subject.train()
    assert subject.loss(subject.model(subject.images, subject.labels)) < before


def test_all_candidates_start_from_the_same_weights():
    ours, naive = (Subject(c, CASE, CPU, fused=False, processes=1).model.state_dict() for c in (OURS, NAIVE))
    torch.testing.assert_close(dict(naive), dict(ours), rtol=0, atol=0)


def test_channels_last_is_another_layout_and_nothing_else():
    naive, last = (
        Subject(Candidate(name, "dynamic", "full"), CASE, CPU, fused=False, processes=1)
        for name in ("naive", "channels_last")
    )
    assert last.model.conv.weight.stride() != naive.model.conv.weight.stride()
    torch.testing.assert_close(last.infer_eagerly(), naive.infer_eagerly())
    for subject in (naive, last):
        subject.loss(subject.model(subject.images, subject.labels)).backward()
    for (name, parameter), twin in zip(last.model.named_parameters(), naive.model.parameters(), strict=True):
        torch.testing.assert_close(
            parameter.grad, twin.grad, rtol=1e-4, atol=1e-5, msg=lambda text, n=name: f"{n}: {text}"
        )
    options = Options(implementations=("naive", "channels_last", "ours"), gradients=("full",))
    assert [c.implementation for c in scaling.candidates(options)] == [
        "naive",
        "ours",
    ]  # class capsules have no channels


def test_only_what_the_naive_implementations_have_is_compared_with_them():
    options = Options(routings=("dynamic", "em"), implementations=("naive", "ours"), compile=True)
    found = options.candidates("paper")
    assert [c.label for c in found if not c.compiled] == [
        "naive, dynamic, full",
        "ours, dynamic, full",
        "naive, dynamic, last",
        "ours, dynamic, last",
        "ours, em",
    ]
    assert next(c.label for c in found if c.compiled) == "naive, dynamic, full, compiled"
    assert reference(Candidate("ours", "dynamic", "last"), found).gradient == "last"
    assert reference(Candidate("ours", "em", ""), found) == NAIVE
    assert Options(implementations=("naive", "ours")).candidates("cnn") == [Candidate("ours", "", "")]


def test_what_nobody_else_has_is_compared_with_its_definition():
    options = Options(routings=("dynamic", "em"), implementations=("naive", "exact", "ours"), gradients=("full",))
    found = options.candidates("paper")
    ours = {c.routing: c for c in found if c.implementation == "ours"}
    assert reference(ours["dynamic"], found) == NAIVE
    assert reference(ours["em"], found) == Candidate("exact", "em", "")
    assert [c.implementation for c in options.candidates("matrix_capsnet")] == ["exact", "ours"]


@pytest.mark.parametrize("implementation", ["exact", "ours"])
def test_exact_takes_no_fast_path(implementation):
    subject, allowed = Subject(Candidate(implementation, "em", ""), CASE, CPU, fused=False, processes=1), []
    subject.model.register_forward_pre_hook(lambda *_: allowed.append(fast_paths_allowed()))
    subject.model.conv.weight.register_hook(lambda _: allowed.append(fast_paths_allowed()))
    subject.train()
    subject.infer()
    assert allowed == [implementation == "ours"] * 3
    assert bool(subject.optimizer.defaults["fused"]) == (implementation == "ours")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--impl", "fast"], "Unknown implementation 'fast'."),
        (["--routings", "dynamo"], "Unknown routing 'dynamo'. Did you mean 'dynamic'?"),
        (["--networks", "papers"], "Unknown network 'papers'. Did you mean 'paper'?"),
        (["--batch", "many"], "--batch many: must be a number of images"),
        (["--batch", "33", "--processes", "2"], "A batch of 33 does not divide among 2 processes."),
        (["--rounds", "1"], "--rounds 1: must be at least 2."),
        (["--networks", "cnn", "--impl", "naive"], "cnn: no other implementations than 'exact' and 'ours' have it"),
        (["--device", "tpu"], "device='tpu'"),
        (["--impl", "naive,graphs", "--device", "cpu"], "'graphs' replays CUDA graphs and needs a GPU"),
    ],
)
def test_what_cannot_be_measured_is_refused(words, message):
    assert message in refused("bench", *words)


def test_the_memory_of_the_naive_layer_holds_its_votes():
    """The naive layer stores its votes: those of a layer twice as large are twice as many."""
    options = Options(quick=True, device="cpu")
    points = scaling.axes(options)["capsules"]
    small, _, large = worker.ask(options, "scale_memory", list(NAIVE), "capsules")[0]
    votes = [4 * 16 * point.batch * point.parts * point.wholes for point in points]
    assert small > votes[0] and large > votes[2] and large > 1.5 * small


def test_memory_does_not_count_that_of_the_process_that_asks():
    ballast = torch.ones(2**28)  # 1 GiB
    libraries, peak = command._memory(Options(device="cpu"), list(CASE), OURS, "infer")
    assert 2**26 < libraries < peak < 4 * len(ballast)


def test_a_process_that_fails_says_why():
    with pytest.raises(UserError, match="build .* exit code 1: .*Unknown model 'tiny'"):
        worker.ask(Options(device="cpu"), "build", ["tiny", 2, "float32"], list(NAIVE))


@pytest.mark.slow
def test_processes_share_a_batch(monkeypatch):
    monkeypatch.setattr(command, "ask", lambda *_: [{"matrix": 1e10, "copy": 1e10}])
    options = Options(processes=2, rounds=2, gradients=("full",), device="cpu")
    found = command._time(options, ["small", 2, "float32"])["candidates"]
    for each in found.values():
        assert len(each["train"]["seconds"]) == 2
        assert each["train"]["operations"] > each["infer"]["operations"]
    assert found[NAIVE.label]["train"]["operations"] == floor.direct_operations("small", 1)["train"]


class InThisProcess(worker.Workers):
    """No processes are started."""

    def __init__(self, options, *, together=False):
        self.tasks = tasks.Tasks(options, CPU)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def ask(self, task, *arguments):
        plain = json.loads(json.dumps(arguments))
        return [json.loads(json.dumps(getattr(self.tasks, task)(*plain)))]


@pytest.fixture
def in_this_process(monkeypatch):
    """What grows is tiny, and its times are those of its sizes, squared."""

    def alternate(timers, rounds):
        for timer in timers.values():
            timer(1)
        sizes.append(2 * sizes[-1] if len(sizes) % 2 else 1)
        return {label: [1e-3 * sizes[-1] ** 2] * rounds for label in timers}

    sizes = []
    monkeypatch.setattr(command, "Workers", InThisProcess)
    monkeypatch.setattr(command, "ask", lambda options, *task: InThisProcess(options).ask(*task))
    monkeypatch.setattr(scaling, "alternate", alternate)
    monkeypatch.setattr(scaling, "measure_memory", lambda candidate, points, device: [2**20, 2**21][: len(points)])
    monkeypatch.setattr(scaling, "QUICK", {"capsules": ((8, 16), (3,)), "classes": ((8,), (2, 4))})
    monkeypatch.setattr(measure, "SHORTEST", 1e-9)
    monkeypatch.setattr(tasks, "measure_rates", lambda *_: measure.Rates(1e10, 1e10))
    monkeypatch.setattr(tasks, "keep_freed_memory", lambda: None)


def test_the_command_leaves_what_it_prints(in_this_process):
    code, out, _ = said("bench", "--quick", "--rounds", "2", "--batch", "2", "--device", "cpu", "--json")
    assert code == 0
    found = json.loads(out)
    assert found == json.loads(Path("bench/bench.json").read_text())
    assert Path("bench/bench.png").read_bytes().startswith(b"\x89PNG")
    (case,) = found["cases"]
    naive, ours = case["rows"]
    assert (naive["candidate"], ours["candidate"]) == (NAIVE.label, OURS.label)
    assert naive["train"]["ratio"] == {"low": 1, "median": 1, "high": 1}
    assert ours["train"]["ratio"]["low"] <= ours["train"]["ratio"]["median"] <= ours["train"]["ratio"]["high"]
    assert [row["axis"] for row in found["scaling"]] == ["capsules"] * 2 + ["classes"] * 2
    for row in found["scaling"]:
        assert row["laws"]["time"]["exponent"] == pytest.approx(2)
        assert row["laws"]["memory"]["exponent"] == pytest.approx(1)
    text = Path("bench/bench.md").read_text()
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        report.show(found)
    for word in (environment.processor(), environment.instructions(), environment.blas()):
        assert word in shown.getvalue()
    for title in ("training", "inference", "milliseconds of a training step", "the machine"):
        assert f"small, batch 2, float32: {title}" in text and title in shown.getvalue()


def test_numbers_are_written_without_exponents():
    row = {"images_per_second": {"low": 990.0, "median": 1234.5, "high": 0.04567}, "memory": 2**30}
    _, columns, ((*cells,),) = report._speeds("", [{"candidate": "ours", "train": row}], "train")
    assert cells == ["ours", "1234", "990 to 0.046", *"––", "1024", *"––––"] and len(cells) == len(columns)
