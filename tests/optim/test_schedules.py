"""Learning-rate schedules: pure functions of the step, from 0 to 1."""

import pytest

from capsnet_dist import schedules


@pytest.mark.parametrize("name", list(schedules))
@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_every_factor_is_from_0_to_1_and_follows_from_the_step_alone(name, steps):
    schedule, again = (schedules(name).build(steps) for _ in range(2))
    factors = [schedule(step) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors) and max(factors) > 0
    assert factors[::-1] == [again(step) for step in reversed(range(steps))]


def test_the_constant_rate_is_constant():
    assert {schedules("constant").build(5)(step) for step in range(5)} == {1.0}


def test_the_exponential_rate_falls_by_its_decay_down_to_its_floor():
    schedule = schedules("exponential", decay=0.5, every=10, floor=0.1).build(100)
    assert [schedule(step) for step in (0, 5, 10, 20)] == pytest.approx([1.0, 0.5**0.5, 0.5, 0.25])
    assert schedule(99) == 0.1
