"""The board knows which rows there must be."""

import dataclasses
import math

import numpy as np
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
        lambda b: dataclasses.replace(b, trials=(trial(seconds=-1.0),)),
        lambda b: dataclasses.replace(b, workloads=(dataclasses.replace(b.workloads[0], held_out_of="v"),)),
        lambda b: board({"a": {"w": [], "v": [], "u": []}, "b": {"w": [[1.0]]}}, held_out={"v": "w", "u": "v"}),
    ],
)
def test_board_that_contradicts_itself_is_refused(change):
    with pytest.raises(ValueError, match=r"twice|not one of|broken clock|which is not on the board"):
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


def test_board_of_seconds_never_ranks_by_steps():
    noisy = board({"a": {"w": [[100.0]] * 3}}, rules=scoring.ALGOPERF, noisy=True)
    assert noisy.steps_only
    assert noisy.unit == "seconds"


def test_limits_are_the_clocks_second_stop_or_the_budget_of_algoperf():
    assert board({"a": {"w": [[100.0]]}}, budget=400.0).limits.tolist() == [500.0]
    assert board({"a": {"w": [[100.0]]}}, budget=400.0, rules=scoring.ALGOPERF).limits.tolist() == [400.0]


def test_held_out_variants_are_columns_that_know_their_base():
    table = board({"a": {"v_x": [[1.0]], "w": [[1.0]], "v": [[1.0]], "w_x": [[1.0]]}}, held_out={"v_x": "v", "w_x": "w"})
    assert [workload.name for workload in table.base] == ["w", "v"]
    assert table.held_out == ((0, 2), (3, 1))


def test_study_that_nobody_expects_is_a_hole_only_where_it_would_count_as_a_miss():
    ragged = {"a": {"w": [[100.0], [110.0]]}, "b": {"w": [[100.0]]}}
    board(ragged, rules=scoring.ALGOPERF).require_complete()
    with pytest.raises(scoring.Unscorable):
        board(ragged).require_complete()


def test_charge_of_a_trial_is_to_its_hit_or_its_stop():
    assert [trial(time=100.0).charged(unit) for unit in ("reference_steps", "seconds", "steps")] == [100.0, 1.0, 100.0]
    assert trial(time=math.inf, charged=480.0).charged("reference_steps") == 480.0


@pytest.mark.parametrize(
    ("values", "target", "direction", "index"),
    [
        ([0.1, 0.5, 0.9], 0.5, "max", 1),
        ([0.1, 0.5, 0.9], math.nextafter(0.5, 1), "max", 2),
        ([0.9, 0.5, 0.1], 0.5, "min", 1),
        ([0.9, 0.5, 0.1], math.nextafter(0.5, 0), "min", 2),
        ([0.9, 0.6, 0.9], 0.5, "max", 0),
        ([0.1, 0.2], 0.5, "max", -1),
        ([math.nan, 0.6], 0.5, "max", 1),
        ([math.inf, 0.6], 0.5, "max", 1),
        ([-math.inf, 0.4], 0.5, "min", 1),
        ([math.nan, math.inf], 0.5, "max", -1),
        ([], 0.5, "max", -1),
    ],
)
def test_first_hit_is_the_first_evaluation_that_meets_the_target(values, target, direction, index):
    assert scoring.Curve(np.array(values), {}).first_hit(target, direction) == index
