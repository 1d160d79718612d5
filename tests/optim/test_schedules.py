"""Learning-rate schedules: pure functions of the step, from 0 to 1."""

import pytest

from capsnet_dist import schedules


def test_the_constant_rate_is_constant():
    assert {schedules("constant").build(5)(step) for step in range(5)} == {1.0}


def test_the_exponential_rate_falls_by_its_decay_down_to_its_floor():
    schedule = schedules("exponential", decay=0.5, every=10, floor=0.1).build(100)
    assert [schedule(step) for step in (0, 5, 10, 20)] == pytest.approx([1.0, 0.5**0.5, 0.5, 0.25])
    assert schedule(99) == 0.1


RELATIVE = [name for name in schedules if name != "exponential"]
"""Those that follow the length of the training; `exponential` counts steps."""


@pytest.mark.parametrize("name", RELATIVE)
def test_a_longer_training_has_the_same_rates_at_the_same_shares(name):
    short, long = (schedules(name).build(steps) for steps in (200, 1000))
    assert [short(step) for step in range(200)] == pytest.approx([long(5 * step) for step in range(200)], abs=0.1)


@pytest.mark.parametrize("name", [name for name in RELATIVE if name != "constant"])
def test_a_schedule_that_follows_the_training_ends_lower_than_its_peak(name):
    factors = [schedules(name).build(100)(step) for step in range(100)]
    assert factors[-1] < 0.1 < 0.9 < max(factors)


def test_the_geometric_rate_falls_as_far_as_the_paper_s_in_any_number_of_steps():
    schedule = schedules("geometric", final=0.96**150).build(300_000)
    theirs = schedules("exponential", decay=0.96, every=2000).build(300_000)
    assert [schedule(step) for step in range(0, 300_000, 7000)] == pytest.approx(
        [theirs(step) for step in range(0, 300_000, 7000)]
    )
    assert schedules("geometric", final=0.96**150).build(30)(30) == pytest.approx(schedule(300_000))


def test_stairs_keep_one_rate_for_each_part_of_the_training():
    schedule = schedules("geometric", final=0.97**4, stairs=4, floor=0.93).build(40)
    assert [schedule(step) for step in range(40)] == pytest.approx(
        [0.97**k for k in (0, 1, 2) for _ in range(10)] + [0.93] * 10
    )


def test_the_cosine_falls_from_1_to_its_end():
    schedule = schedules("cosine", final=0.2).build(100)
    assert [schedule(step) for step in (0, 50, 100)] == pytest.approx([1.0, 0.6, 0.2])


def test_stepwise_rates_fall_at_their_points():
    schedule = schedules("stepwise", decay=0.1, at=(0.25, 0.75)).build(8)
    assert [schedule(step) for step in range(8)] == pytest.approx([1, 1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01])


def test_one_cycle_rises_to_its_peak_and_falls():
    schedule = schedules("one_cycle", rise=0.5, first=0.1, final=0.0).build(8)
    factors = [schedule(step) for step in range(9)]
    assert factors == pytest.approx(
        [0.1, *(0.1 + 0.9 * x for x in (0.146447, 0.5, 0.853553)), 1, *factors[5:8], 0], abs=1e-6
    )
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_warmup_rises_in_a_line_and_leaves_the_rest_to_the_other_schedule():
    schedule = schedules("warmup", rise=0.4, then=schedules("stepwise", at=(0.5,))).build(10)
    assert [schedule(step) for step in range(10)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 0.1, 0.1, 0.1])
