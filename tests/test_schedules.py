"""Schedules: 0 before the warm-up, then up to `final`, and never back."""

import doctest
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stepe_lite import schedules
from stepe_lite.schedules import constant, cosine, exponential, linear, staircase

warmups = ramps = st.integers(0, 60)
finals = st.floats(0, 1, exclude_max=True)
any_schedule = st.one_of(
    st.builds(constant, finals, warmups),
    st.builds(linear, warmups, ramps, finals),
    st.builds(cosine, warmups, ramps, finals),
    st.builds(exponential, warmups, ramps, finals, st.floats(0.01, 50)),
    st.builds(staircase, warmups, ramps, finals, st.integers(1, 20)),
)


def values(schedule, epochs):
    return np.array([schedule(epoch) for epoch in range(epochs)])


quarter_epochs = st.integers(0, 600).map(lambda quarters: quarters / 4)


@given(any_schedule)
def test_nothing_is_excluded_before_the_warmup_is_over(schedule):
    assert not values(schedule, schedule.warmup).any()


@given(any_schedule, st.integers(0, 100))
def test_the_final_fraction_is_reached_exactly_when_the_ramp_is_over(schedule, later):
    assert schedule(schedule.warmup + schedule.ramp + later) == schedule.final


@given(any_schedule, quarter_epochs, quarter_epochs)
def test_the_fraction_lies_between_0_and_final_and_never_falls(schedule, one, other):
    earlier, later = sorted([one, other])
    assert 0 <= schedule(earlier) <= schedule(later) <= schedule.final


@pytest.mark.parametrize("make", [linear, cosine, exponential])
def test_a_smooth_ramp_has_no_jumps_and_starts_at_0(make):
    schedule = make(warmup=3, ramp=5, final=0.4)
    fractions = np.array([schedule(epoch) for epoch in np.linspace(0, 12, 12_001)])
    assert schedule(3) == 0
    assert np.diff(fractions).max() < 0.001


@pytest.mark.parametrize(
    ("schedule", "quarter", "half"),
    [
        (constant(0.4, warmup=5), 0.4, 0.4),
        (linear(5, 20, 0.4), 0.1, 0.2),
        (cosine(5, 20, 0.4), 0.2 - 0.2 / math.sqrt(2), 0.2),
        (exponential(5, 20, 0.4, sharpness=math.log(16)), 0.4 * (1 / 2) / (15 / 16), 0.4 * (3 / 4) / (15 / 16)),
        (staircase(5, 20, 0.4, steps=2), 0.0, 0.2),
    ],
    ids=repr,
)
def test_values_on_the_ramp_worked_out_by_hand(schedule, quarter, half):
    assert schedule(10) == pytest.approx(quarter)
    assert schedule(15) == pytest.approx(half)


def test_the_stairs_of_a_staircase_are_equally_high_and_equally_far_apart():
    fractions = values(staircase(warmup=5, ramp=20, final=0.4, steps=4), 40)
    jumps = np.diff(fractions)
    assert (np.flatnonzero(jumps) + 1).tolist() == [10, 15, 20, 25]
    assert jumps[jumps > 0] == pytest.approx([0.1] * 4)


@given(warmups, st.integers(1, 60), st.integers(1, 5))
@example(warmup=0, steps=49, stride=1)  # 1 / 49 * 49 is a little less than 1
def test_the_jumps_of_a_staircase_come_on_time(warmup, steps, stride):
    schedule = staircase(warmup, ramp=steps * stride, final=0.5, steps=steps)
    fractions = values(schedule, warmup + steps * stride + 1)
    assert (np.flatnonzero(np.diff(fractions)) + 1).tolist() == [warmup + stride * (i + 1) for i in range(steps)]


@pytest.mark.parametrize("make", [linear, cosine, exponential, staircase])
def test_without_a_ramp_the_final_fraction_comes_at_once(make):
    assert values(make(warmup=2, ramp=0, final=0.3), 5).tolist() == [0, 0, 0.3, 0.3, 0.3]


@given(any_schedule)
def test_a_schedule_prints_as_the_call_that_makes_it(schedule):
    assert eval(repr(schedule), vars(schedules)) == schedule


def test_schedules_are_compared_by_value():
    assert linear(5, 15, 0.4) == linear(warmup=5, ramp=15, final=0.4)
    assert len({linear(5, 15, 0.4), linear(5, 15, 0.4), linear(5, 15, 0.3), cosine(5, 15, 0.4)}) == 3


def test_names_are_the_functions_that_make_them():
    assert all(getattr(schedules, name).__name__ == name for name in schedules.names())


def test_the_example_in_the_documentation_is_true():
    assert doctest.testmod(schedules) == doctest.TestResults(failed=0, attempted=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear(5, 15, 1.0), "final is 1.0, but must be a number from 0 up to .* 1"),
        (lambda: cosine(5, 15, -0.1), "final is -0.1"),
        (lambda: linear(5, 15, math.nan), "final is nan"),
        (lambda: linear(5, 15, "0.4"), "final is '0.4'"),
        (lambda: constant(1.5), "fraction is 1.5"),
        (lambda: linear(-1, 15, 0.4), "warmup is -1, but must be a whole number, at least 0"),
        (lambda: linear(5, 1.5, 0.4), "ramp is 1.5, but must be a whole number"),
        (lambda: staircase(5, 15, 0.4, steps=0), "steps is 0, but must be a whole number, at least 1"),
        (lambda: exponential(5, 15, 0.4, sharpness=0), "sharpness is 0, but must be a finite number above 0"),
        (lambda: schedules.Schedule("liner", 5, 15, 0.4), "shape is 'liner'.*Did you mean 'linear'"),
    ],
)
def test_a_bad_argument_is_named_with_what_is_allowed(call, message):
    with pytest.raises(ValueError, match=message):
        call()
