"""Command line and JSON: the same configuration either way, and mistakes answered with the nearest known word."""

import dataclasses
import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Literal, get_origin

import docstring_parser
import pytest
from test_train import RUN

from capsnet_dist import UserError, config, routings
from capsnet_dist.config import command_line
from capsnet_dist.plugins import REGISTRIES
from capsnet_dist.ranges import require
from capsnet_dist.run import check
from capsnet_dist.screen.ending import user_errors


def test_json_round_trip_is_exact():
    assert config.from_dict(RUN, json.loads(json.dumps(config.to_dict(RUN)))) == RUN


@pytest.mark.parametrize(
    "words", [["--model.routing.iterations", "2"], ["--model.routing=dynamic", "--model.routing.iterations=2"]]
)
def test_options_of_nested_plugins_are_parsed(words):
    assert command_line.parse(RUN, words).model.options["routing"] == routings("dynamic", iterations=2)


def test_an_unknown_plugin_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="Unknown routing 'dynamics'. Did you mean 'dynamic'?"):
        command_line.parse(RUN, ["--model.routing", "dynamics"])
    with pytest.raises(UserError, match="Unknown routing 'dynamics'"):
        command_line.parse(RUN, ["--model.routing=dynamics"])


def test_an_unknown_option_is_answered_with_the_nearest_and_code_2(capsys):
    with pytest.raises(SystemExit) as end:
        command_line.parse(RUN, ["--model.routing.iteratons", "2"])
    assert end.value.code == 2
    assert "--model.routing.iterations" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--batch-size 0", "--batch-size 0: must be at least 1."),
        ("--lr -1", "--lr -1.0: must be positive."),
        ("--lr nan", "--lr nan: must be positive."),
        ("--lr inf", "--lr inf: must be a finite number."),
        ("--steps -3", "--steps -3: must be at least 1."),
        ("--ema 1", "--ema 1.0: must be at least 0 and less than 1."),
        ("--checkpoint.every 0", "--checkpoint.every 0: must be at least 1."),
        ("--model.primary-dim 0", "--model.primary-dim 0: must be at least 1."),
        ("--model.routing.iterations 0", "--model.routing.iterations 0: must be at least 1."),
        ("--model.decoder.hidden 512 0", "--model.decoder.hidden 512 0: must be at least 1."),
        ("--optimizer.beta1 1", "--optimizer.beta1 1.0: must be at least 0 and less than 1."),
        ("--loss.positive 1.5", "--loss.positive 1.5: must be from 0 to 1."),
        ("--regularizer.weight -1", "--regularizer.weight -1.0: must be at least 0."),
        ("--loss.absent nan", "--loss.absent nan: must be at least 0."),
        ("--schedule.decay 1.5", "--schedule.decay 1.5: must be from 0 to 1."),
        ("--augmentation shift --augmentation.pixels -1", "--augmentation.pixels -1: must be at least 0."),
    ],
)
def test_a_number_out_of_range_is_refused_by_its_flag_before_any_work(words, message):
    run = command_line.parse(RUN, words.split())
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        check(run, 1)


def test_a_seed_may_be_any_whole_number():
    for seed in ("-1", "9" * 400):  # beyond what a float holds
        check(command_line.parse(RUN, ["--seed", seed]), 1)


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_option_that_is_a_number_refuses_a_negative_one(registry):
    for name in registry:
        for key, (kind, default) in registry.options(name).items():
            if get_origin(kind) is Literal:  # which refuses whatever it does not name
                continue
            numbers = default if isinstance(default, tuple) else (default,)
            if any(type(number) in (int, float) for number in numbers) and key not in ("beta_u", "beta_a"):  # costs
                bad = (-1,) * len(numbers) if isinstance(default, tuple) else type(default)(-1)
                with pytest.raises(UserError, match="must be (at least|positive|from 0)"):
                    require(kind, bad, key)
            require(kind, default, key)


@pytest.mark.parametrize("words", [["--batch-size", "abc"], ["--lrr", "1"], ["--dtype", "float16"]])
def test_only_rank_0_says_what_is_wrong_with_the_command_line(monkeypatch, capsys, words):
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as end:
            command_line.parse(RUN, words)
        out, err = capsys.readouterr()
        assert end.value.code == 2 and out == "" and (words[0] in err) == (rank == "0")
        assert rank == "0" or err == ""


def test_other_ranks_wait_until_rank_0_has_spoken(monkeypatch):
    waited = []
    monkeypatch.setattr("capsnet_dist.screen.ending.time", SimpleNamespace(sleep=waited.append))
    monkeypatch.setenv("RANK", "1")
    for words in (["--lrr", "1"], ["--model.routing", "ems"]):
        with pytest.raises(SystemExit), user_errors():
            command_line.parse(RUN, words)
    assert waited == [10, 10]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"lrr": 1.0}, "lrr is not an option. Did you mean 'lr'"),
        ({"lr": "fast"}, "lr must be float; got 'fast'"),
        ({"batch_size": True}, "batch_size must be int"),
        ({"model": "capsnet"}, "model must be an object"),
        ({"model": {"name": "capsnett"}}, "Did you mean 'capsnet'"),
        ({"model": {"decoder": {"hidden": [1, "2"]}}}, "model.decoder.hidden must be"),
    ],
)
def test_json_of_another_shape_is_refused_with_its_path(data, message):
    with pytest.raises(UserError, match=message):
        config.from_dict(RUN, data)


def test_a_routing_in_a_file_of_the_user_is_chosen_by_name():
    Path("halves.py").write_text(
        "from capsnet_dist.routing import DynamicRouting\n"
        "from capsnet_dist import routings\n"
        "@routings.register('halves')\n"
        "class Halves(DynamicRouting):\n"
        "    '''Dynamic routing by another name.'''\n"
    )
    run = command_line.parse(
        RUN, ["--import", "halves.py", "--model.routing", "halves", "--model.routing.iterations", "2"]
    )
    assert run.model.options["routing"].name == "halves"
    assert routings.owner("halves").endswith("halves.py")
    with pytest.raises(UserError, match="no such file"):
        command_line.parse(RUN, ["--import", "absent.py"])


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_every_option_of_every_plugin_has_a_help(registry):
    ours = [name for name in registry if registry.owner(name).startswith("capsnet_dist ")]
    assert ours
    for name in ours:
        parameters = docstring_parser.parse(inspect.getdoc(registry[name])).params
        documented = {parameter.arg_name for parameter in parameters if parameter.description}
        assert registry.options(name).keys() <= documented, name


def test_help_shows_every_option_of_the_run_and_of_the_chosen_plugins(capsys):
    with pytest.raises(SystemExit) as end:
        command_line.parse(RUN, ["--model.routing", "em", "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    flags = {f"--{name.replace('_', '-')}" for name in (field.name for field in dataclasses.fields(RUN))}
    flags |= {f"--model.routing.{name.replace('_', '-')}" for name in routings.options("em")}
    for flag in flags:
        assert flag in shown
    assert "(default: 0.001)" in shown and "Peak learning rate." in shown


def test_help_runs_on_where_a_docstring_goes_to_the_next_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        command_line.parse(RUN, ["--help"])
    shown = capsys.readouterr().out.replace("│", " ").split()
    assert "the last one only, whose couplings then count" in " ".join(shown)
