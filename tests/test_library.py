"""Trainings and evaluations as functions of a larger program: what they change in its process they give back."""

import atexit
import ctypes
import faulthandler
import json
import logging
import os
import random
import signal
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import matplotlib.figure  # what it does at exit is not ours; so with numba
import numba  # noqa: F401
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState
from conftest import run_ranks
from test_train import RUN

import capsnet_dist
from capsnet_dist import Split, UserError, losses, models
from capsnet_dist.analysis.diagnosis import diagnose
from capsnet_dist.analysis.gallery import FIGURES
from capsnet_dist.analysis.subject import NotShown, Subject
from capsnet_dist.commands.evaluate import evaluate as evaluate_run
from capsnet_dist.kernels import fast_paths, follow_precision
from capsnet_dist.processes.signals import SIGNALS, Interruption, hearing
from capsnet_dist.train import train
from capsnet_dist.training.evaluation import evaluate
from capsnet_dist.training.isolation import isolated

pytestmark = pytest.mark.pictures
RUN = replace(RUN, steps=3, progress="none")
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "ACCELERATE_USE_CPU")
SMALL_CNN = models("cnn", channels=(4,), kernels=(3,), hidden=(8,))  # with dropout
BACKENDS = torch.backends
PR_GET_PDEATHSIG = 2


def without_a_launcher(function, *arguments):
    """Call a function in a process of its own that no launcher has started."""
    return run_ranks(1, _without_a_launcher, function, *arguments)


def _without_a_launcher(function, *arguments):
    for name in LAUNCHED:
        os.environ.pop(name, None)
    return function(*arguments)


def precisions():
    places = [BACKENDS.cuda.matmul, BACKENDS.cudnn.conv, BACKENDS.cudnn.rnn, BACKENDS.mkldnn.matmul]
    return [place.fp32_precision for place in places]


def death_signal():
    found = ctypes.c_int()
    ctypes.CDLL(None).prctl(PR_GET_PDEATHSIG, ctypes.byref(found))
    return found.value


def settings():
    """Whatever a program may have set in its process."""
    return {
        "variables": dict(os.environ),
        "random numbers": [str(np.random.get_state()), torch.get_rng_state().tolist()],  # beartype draws Python's
        "signals": [signal.getsignal(number) for number in SIGNALS],
        "faulthandler": faulthandler.is_enabled(),
        "death signal": death_signal(),
        "warnings": [list(warnings.filters), warnings.showwarning],
        "log": [logging.root.level, list(logging.root.handlers), logging.root.manager.disable],
        "torch's log": [logging.getLogger("torch").level, list(logging.getLogger("torch").handlers)],
        "determinism": torch.get_deterministic_debug_mode(),
        "threads": torch.get_num_threads(),
        "types": [torch.get_default_dtype(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")],
        "precision": precisions(),
        "Accelerate": [dict(state._shared_state) for state in (AcceleratorState, PartialState, GradientState)],
        "pictures": dict(matplotlib.rcParams),
        "at exit": atexit._ncallbacks(),
        "streams": [sys.stdout, sys.stderr, sys.excepthook, sys.argv[:], sys.path[:], os.getcwd()],
    }


def program(action):
    """A program with settings of its own calls ours; the names of those that are no longer what they were."""
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    faulthandler.disable()
    warnings.simplefilter("ignore", ResourceWarning)
    logging.root.setLevel(logging.ERROR)
    logging.root.addHandler(logging.NullHandler())
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_default_dtype(torch.float64)
    BACKENDS.cudnn.conv.fp32_precision = "ieee"
    np.random.seed(5)
    torch.manual_seed(5)
    own = Accelerator(mixed_precision="bf16", cpu=True, gradient_accumulation_steps=3)
    os.environ["TORCHELASTIC_RUN_ID"] = "mine"  # as under a launcher
    before = settings()
    problem = None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        try:
            action()
        except (UserError, SystemExit) as error:
            problem = type(error).__name__
    after = settings()
    assert own.mixed_precision == "bf16"
    return [name for name, value in before.items() if after[name] != value], problem


def train_to_the_end():
    train(replace(RUN, deterministic=True, mixed_precision="no", accumulation=2))


def train_what_is_refused():
    train(replace(RUN, batch_size=4096, deterministic=True))


def train_until_interrupted():
    threading.Timer(0.5, signal.raise_signal, [signal.SIGUSR1]).start()
    train(replace(RUN, steps=100_000, exact=True))


def train_and_use():
    train(RUN)
    evaluate_run("run", data=RUN.data)
    images = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    model = capsnet_dist.load("run")
    model.predict(images)
    diagnose(model, Split(images, torch.zeros(1, dtype=torch.int64)))


@pytest.mark.parametrize(
    ("action", "problem"),
    [
        (train_to_the_end, None),
        (train_what_is_refused, "UserError"),
        (train_until_interrupted, "SystemExit"),
        (train_and_use, None),
    ],
)
def test_what_is_changed_in_the_process_is_given_back(action, problem):
    assert without_a_launcher(program, action) == ([], problem)


@pytest.mark.parametrize("error", [None, ValueError])
def test_random_numbers_drawn_in_isolation_are_not_missed_outside(error):
    sources = (random.random, lambda: np.random.rand(), lambda: torch.rand(()).item())
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = [[draw() for draw in sources] for _ in range(2)]
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    found = [[draw() for draw in sources]]
    with suppress(ValueError), isolated():
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        if error:
            raise error
    assert [*found, [draw() for draw in sources]] == expected


def own_training():
    own = Accelerator(mixed_precision="bf16", cpu=True, gradient_accumulation_steps=2)
    network = torch.nn.Linear(4, 4)
    network, optimizer = own.prepare(network, torch.optim.SGD(network.parameters(), lr=0.1))
    stepped = []
    for turn in range(4):
        before = network.weight.detach().clone()
        with own.accumulate(network):
            output = network(torch.ones(2, 4))
            own.backward(output.sum())
            optimizer.step()
            optimizer.zero_grad()
        stepped.append(not torch.equal(before, network.weight))
        if turn == 1:
            train(replace(RUN, mixed_precision="no", accumulation=4))
    with own.autocast():
        inner = torch.nn.functional.linear(torch.ones(2, 4), network.weight).dtype
    return own.mixed_precision, own.gradient_accumulation_steps, str(inner), stepped


def test_the_accelerator_of_the_program_goes_on_as_it_was():
    expected = ("bf16", 2, "torch.bfloat16", [False, True, False, True])
    assert without_a_launcher(own_training) == expected


def history(folder):
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def train_in_turn(*runs):
    for run in runs:
        train(run)
    return history(runs[-1].run_dir)


def test_two_trainings_in_one_program_do_not_influence_each_other():
    """Beside rounding, types and determinism the first leaves random states and weights behind."""
    second = replace(RUN, run_dir=Path("second"), model=SMALL_CNN, regularizer=losses("none"))
    first = replace(RUN, mixed_precision="bf16", deterministic=True, exact=True, accumulation=2, seed=3)
    alone = without_a_launcher(train_in_turn, replace(second, run_dir=Path("alone")))
    assert without_a_launcher(train_in_turn, first, second) == alone


def train_in_a_program_with_settings(run):
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(9)
    Accelerator(mixed_precision="bf16", cpu=True, gradient_accumulation_steps=3)
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        return train_in_turn(run)


def test_a_training_is_the_same_whatever_the_program_has_set():
    alone = without_a_launcher(train_in_turn, replace(RUN, run_dir=Path("alone")))
    assert without_a_launcher(train_in_a_program_with_settings, RUN) == alone


def train_in_a_thread(run):
    ended = []

    def target():
        try:
            ended.append(train(run)["selected"])
        except SystemExit as end:
            ended.append(end.code)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    return ended, json.loads(Path("run/STATUS.json").read_text())["state"]


def test_a_thread_that_is_not_the_main_one_trains():
    (accuracy,), state = without_a_launcher(train_in_a_thread, RUN)
    assert 0 <= accuracy <= 1 and state == "done"


def test_in_a_thread_that_is_not_the_main_one_the_clock_still_interrupts():
    ended = without_a_launcher(train_in_a_thread, replace(RUN, steps=100_000, max_time=0.01))
    assert ended == ([128 + signal.SIGTERM], "preempted")


def test_a_handler_that_python_cannot_put_back_is_left_as_it_is(monkeypatch):
    known, put = signal.getsignal, []
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGUSR1 else known(number))
    monkeypatch.setattr(signal, "signal", lambda number, handler: put.append(number))
    with hearing(Interruption(None)):
        assert put == [signal.SIGINT, signal.SIGTERM]


def precisions_given_back():
    """A program that has set one of PyTorch's precisions trains exactly, and then beside products of 16 bits."""
    kept = []
    for place, precision in ((BACKENDS.cuda.matmul, "tf32"), (BACKENDS.cudnn.conv, "ieee"), (BACKENDS, "ieee")):
        place.fp32_precision = precision
        before = precisions()
        with fast_paths(allowed=False):
            inside = {BACKENDS.cuda.matmul.fp32_precision, BACKENDS.cudnn.conv.fp32_precision}
        with fast_paths(allowed=True):
            follow_precision("bf16")
        kept.append(inside == {"ieee"} and precisions() == before)
    torch.set_float32_matmul_precision("medium")
    with fast_paths(allowed=False):
        pass
    return kept, torch.get_float32_matmul_precision()


def test_precision_set_by_any_name_is_no_mistake_and_comes_back():
    assert run_ranks(1, precisions_given_back) == ([True, True, True], "medium")


class Failing(torch.nn.Module):
    def forward(self, *inputs):
        raise RuntimeError("on purpose")


def network():
    return capsnet_dist.build(RUN.model, (1, 8, 8), tuple("0123456789"))


def test_each_part_of_a_network_keeps_its_mode_also_after_an_error():
    split = Split(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    whole, failing = network(), network()
    failing.decoder = Failing()
    failing.forward = Failing().forward
    for model in (whole, failing):
        parts = list(model.modules())
        for number, part in enumerate(parts):
            part.training = number % 3 == 1
        modes, hooks = [part.training for part in parts], [len(part._forward_hooks) for part in parts]
        for use in (
            lambda model: model.predict(split.images),
            lambda model: evaluate(model, split, [], Accelerator(cpu=True)),
            lambda model: diagnose(model, split),
            *(lambda model, draw=draw: draw(Subject(model, *split)) for draw in FIGURES.values()),
        ):
            with suppress(RuntimeError, NotShown):
                use(model)
            assert [part.training for part in parts] == modes
            assert [len(part._forward_hooks) for part in parts] == hooks
