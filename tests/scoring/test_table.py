"""The board knows which rows there must be."""

import dataclasses
import math

import pytest

import scoring
from tests.scoring.boards import board, trial


def test_time_of_a_number_that_is_none_is_a_miss():
    for time in (math.nan, math.inf):
        assert dataclasses.replace(trial(), reference_steps=time).time("reference_steps") == math.inf


def test_time_of_a_miss_is_infinite_whatever_the_row_says():
    assert dataclasses.replace(trial(), hit=False).time("steps") == math.inf


def test_board_with_a_missing_trial_is_not_scorable_and_names_it():
    whole = board({"a": {"w": [[100.0], [110.0]]}, "b": {"w": [[100.0], [110.0]]}})
    part = dataclasses.replace(whole, trials=whole.trials[:-1])
    assert part.missing == [("b", "w", 1, 0)]
    with pytest.raises(scoring.Unscorable, match=r"unfinished board gets no score: 1 of 4 .*\n.*b on w: 1 trial"):
        part.require_complete()
    whole.require_complete()


def test_board_where_a_study_expects_no_trial_is_not_scorable():
    ragged = board({"a": {"w": [[100.0], [110.0]]}, "b": {"w": [[100.0]]}})
    with pytest.raises(scoring.Unscorable, match="b on w: no trial is expected in study 1"):
        ragged.require_complete()


@pytest.mark.parametrize(
    "change",
    [
        lambda b: dataclasses.replace(b, entrants=("a", "a")),
        lambda b: dataclasses.replace(b, workloads=b.workloads * 2),
        lambda b: dataclasses.replace(b, trials=b.trials * 2),
        lambda b: dataclasses.replace(b, trials=(trial("stranger"),)),
        lambda b: dataclasses.replace(b, trials=(trial(time=0.0),)),
    ],
)
def test_board_that_contradicts_itself_is_refused(change):
    with pytest.raises(ValueError, match=r"twice|not one of|broken clock"):
        change(board({"a": {"w": [[100.0]]}}))


def test_steps_only_needs_more_than_a_tenth_of_noisy_trials():
    ten = board({"a": {"w": [[100.0]] * 10}})
    noisy = [dataclasses.replace(row, noisy=True) for row in ten.trials]
    at_limit = dataclasses.replace(ten, trials=(noisy[0], *ten.trials[1:]))
    assert not at_limit.steps_only
    assert at_limit.unit == "reference_steps"
    over = dataclasses.replace(ten, trials=(*noisy[:2], *ten.trials[2:]))
    assert over.steps_only
    assert over.unit == "steps_x_cost"


def test_limits_are_the_clocks_second_stop():
    assert board({"a": {"w": [[100.0]]}}, budget=400.0).limits.tolist() == [500.0]
