"""The A/A control."""

import math

import pytest

import scoring
from tests.scoring.boards import board


def history(value=0.5, steps=(10, 20)):
    return {("w", study, 0): [(step, (0.1, {"accuracy": value})) for step in steps] for study in range(3)}


def table(ratio=1.0):
    return board(
        {"a": {"w": [[100.0], [110.0], [120.0]]}, "aa": {"w": [[100.0 / ratio], [110.0 / ratio], [120.0 / ratio]]}}
    )


def test_control_of_equal_runs_passes():
    found = scoring.control(table(1.02), "a", "aa", history(), history())
    assert found.passed
    assert found.compared == 6
    assert found.ratio == pytest.approx(1.02)
    assert found.interval == pytest.approx((1.02, 1.02))


@pytest.mark.parametrize("ratio", [1.06, 1 / 1.06])
def test_control_fails_when_times_differ_by_over_five_percent(ratio):
    assert not scoring.control(table(ratio), "a", "aa", history(), history()).passed


def test_control_fails_on_the_last_bit_of_one_metric():
    found = scoring.control(table(), "a", "aa", history(), history(math.nextafter(0.5, 1.0)))
    assert not found.passed
    assert found.unequal == (("w", 0, 0, 10), ("w", 1, 0, 10), ("w", 2, 0, 10))


def test_control_compares_equal_steps_only():
    found = scoring.control(table(), "a", "aa", history(), history(steps=(10, 20, 30)))
    assert found.passed
    assert found.compared == 6


def test_control_that_compared_nothing_does_not_pass():
    assert not scoring.control(table(), "a", "aa", {}, {}).passed


def test_control_of_one_study_shows_no_interval():
    one = board({"a": {"w": [[100.0]]}, "aa": {"w": [[101.0]]}})
    found = scoring.control(one, "a", "aa", history(), history())
    assert math.isnan(found.interval[0])
    assert found.passed
