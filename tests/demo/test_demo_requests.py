"""Requests that may be anything: answered, or refused in one line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stages import GOOD, PIXELS, stage
from test_hostile import fuzzed, mutations

from capsnet_dist import UserError
from capsnet_dist.demo.answers import ANSWERS

ONE = stage()
few = settings(fuzzed, max_examples=fuzzed.max_examples // 3)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([PIXELS, 10**400, -1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def answered(name, body):
    """Whether a request is answered, or refused in one printable line; all else fails the test."""
    read, answer = ANSWERS[name]
    try:
        json.dumps(answer(read(body, [ONE]), [ONE]), allow_nan=False)
    except UserError as error:
        assert str(error).isprintable() and len(str(error)) < 600
        return False
    return True


def test_every_request_has_a_good_example():
    assert GOOD.keys() == ANSWERS.keys()
    assert all(answered(name, json.dumps(question).encode()) for name, question in GOOD.items())


@pytest.mark.parametrize("name", GOOD)
def test_a_mutated_request_is_answered_or_refused(name):
    @few
    @given(mutations(json.dumps(GOOD[name]).encode()))
    def check(body):
        answered(name, body)

    check()


@pytest.mark.parametrize("name", GOOD)
def test_a_request_with_anything_in_a_field_is_answered_or_refused(name):
    @few
    @given(st.sampled_from(sorted(GOOD[name])), ANYTHING)
    def check(field, value):
        answered(name, json.dumps(GOOD[name] | {field: value}).encode())

    check()


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("look", "run", 1),
        ("look", "run", True),
        ("look", "class", 5),
        ("look", "polarity", "both"),
        ("look", "picture", "no base64"),
        ("look", "picture", "AAAA"),
        ("rebuild", "pixels", PIXELS[4:]),
        ("rebuild", "offsets", []),
        ("rebuild", "offsets", [[0.5] * 15]),
        ("rebuild", "offsets", [[float("nan")] * 16]),
        ("rebuild", "offsets", [[10**400] * 16]),
        ("rebuild", "offsets", [[0.5] * 16] * 65),
        ("routing", "classes", [0] * 9),
        ("routing", "classes", "01"),
    ],
)
def test_what_is_out_of_bounds_is_refused(name, field, value):
    assert not answered(name, json.dumps(GOOD[name] | {field: value}).encode())
