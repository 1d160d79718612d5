"""Command line and JSON: the same configuration either way, and mistakes answered with the nearest known word."""

import json
from pathlib import Path

import pytest
from test_train import RUN

from capsnet_dist import UserError, command_line, config, routings


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
