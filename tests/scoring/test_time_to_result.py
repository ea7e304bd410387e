"""AlgoPerf's score on boards worked by hand, and the laws it obeys."""

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring
from scoring import time_to_result
from tests.scoring.boards import board, trial

INF = math.inf


def score_of(table):
    return dict(zip(table.entrants, scoring.scores(scoring.medians(scoring.study_times(table, table.unit))), strict=True))


# ---------------------------------------------------------------------------------------------- worked by hand


def test_study_time_is_the_smallest_time_not_the_first_trial_nor_the_fewest_steps():
    # Mutation `index for time`: trial 1 hits at a smaller index (fewer steps), trial 0 in less time.
    rows = (trial(trial=0, time=100.0, steps=300.0), trial(trial=1, time=120.0, steps=60.0), trial(trial=2, time=INF))
    table = dataclasses.replace(board({"a": {"w": [[1.0, 1.0, 1.0]]}}), trials=rows)
    assert scoring.study_times(table, "reference_steps").tolist() == [[[100.0]]]
    assert scoring.study_times(table, "reference_steps", shown="steps").tolist() == [[[300.0]]]


def test_study_without_a_hit_stays_in_the_median():
    # Mutation `dropped study`: without the missed studies the median would be 100.
    table = board({"a": {"w": [[INF], [100.0], [INF]], "v": [[INF], [100.0], [120.0]]}})
    assert scoring.medians(scoring.study_times(table, "reference_steps")).tolist() == [[INF, 120.0]]


def test_median_is_neither_mean_nor_minimum():
    assert scoring.medians(np.array([1.0, 2.0, 30.0])) == 2.0
    assert scoring.medians(np.array([1.0, 2.0, 4.0, 30.0])) == 3.0
    assert scoring.medians(np.array([1.0, 2.0, INF, INF])) == INF


def test_median_counts_nan_as_a_miss():
    assert scoring.medians(np.array([np.nan, np.nan, 5.0])) == INF
    assert scoring.medians(np.array([np.nan, 4.0, 5.0])) == 5.0


def test_limit_is_over_four_times_the_best_not_at_it():
    # Mutation `>= for >`.
    times = np.array([[100.0], [400.0], [np.nextafter(400.0, 500.0)]])
    assert time_to_result.apply_rules(times).tolist() == [[100.0], [400.0], [INF]]


def test_profile_counts_a_ratio_equal_to_tau():
    # Mutation `< for <=`: the fastest would not count at tau = 1.
    rho = scoring.profile(np.array([[1.0, 4.0], [2.0, INF]]))
    assert rho[0, 0] == 0.5
    assert rho[0, -1] == 1.0
    assert rho[1, 0] == 0.0
    assert rho[1, -1] == 0.5


@pytest.mark.parametrize(
    ("ratio", "grid_points_before"), [(1.0, 0), (1.02, 1), (1.0 + 1 / 33, 1), (2.0, 33), (3.9999, 99), (4.0, 99)]
)
def test_score_of_one_workload_matches_the_closed_form(ratio, grid_points_before):
    # algoperf.md (e): 1 for k = 0, else (99 - k + 1/2) / 99, k the first grid index with tau >= ratio.
    k = grid_points_before
    expected = 1.0 if k == 0 else (99 - k + 0.5) / 99
    got = scoring.scores(np.array([[100.0], [100.0 * ratio]]))[1]
    assert got == pytest.approx(expected, abs=1e-12)


def test_score_of_a_worked_board():
    # A: fastest on w and u. B: 2x on w (k = 33), fastest on v. Nobody solves x, which still counts.
    times = np.array([[100.0, 50.0, 80.0, INF], [200.0, 40.0, 400.0, INF]])
    k = math.ceil((1.25 - 1) * 33)  # 1.25 on the grid of steps 1/33
    a = (1 + (99 - k + 0.5) / 99 + 1 + 0) / 4
    b = ((99 - 33 + 0.5) / 99 + 1 + 0 + 0) / 4
    assert scoring.scores(times) == pytest.approx([a, b], abs=1e-12)


def test_score_of_a_field_that_never_hits_is_zero():
    assert scoring.scores(np.full((3, 2), INF)).tolist() == [0.0, 0.0, 0.0]


def test_score_of_tied_entrants_is_the_same():
    assert scoring.scores(np.full((2, 3), 7.0)).tolist() == [1.0, 1.0]


def test_score_of_one_entrant_on_one_workload():
    assert scoring.scores(np.array([[3.0]])).tolist() == [1.0]


def test_score_against_reference_ignores_the_field():
    times, reference = np.array([[100.0, 50.0], [200.0, INF]]), np.array([100.0, 100.0])
    both = scoring.scores_vs_reference(times, reference)
    assert both == pytest.approx([1.0, (99 - 33 + 0.5) / 99 / 2])
    assert scoring.scores_vs_reference(times[1:], reference) == pytest.approx(both[1:])


def test_steps_only_board_ranks_by_steps_times_cost():
    rows = (
        trial("a", time=100.0, steps_x_cost=300.0, noisy=True),
        trial("b", time=200.0, steps_x_cost=100.0, noisy=True),
    )
    table = dataclasses.replace(board({"a": {"w": [[1.0]]}, "b": {"w": [[1.0]]}}), trials=rows)
    assert score_of(table)["b"] == 1.0
    assert score_of(table)["a"] < 1.0


# --------------------------------------------------------------------------------------------------------- laws

TIME = st.one_of(st.just(INF), st.integers(50, 900).map(float))


@st.composite
def boards(draw):
    entrants, workloads = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    studies, points = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    return board(
        {
            f"e{s}": {f"w{w}": [[draw(TIME) for _ in range(points)] for _ in range(studies)] for w in range(workloads)}
            for s in range(entrants)
        }
    )


@settings(max_examples=60, deadline=None)
@given(boards(), st.randoms())
def test_permuting_rows_entrants_workloads_studies_and_trials_changes_no_score(table, rng: random.Random):
    def shuffled(values):
        values = list(values)
        rng.shuffle(values)
        return values

    studies, points = shuffled(range(table.studies)), shuffled(range(table.points))
    rows = [dataclasses.replace(row, study=studies[row.study], trial=points[row.trial]) for row in table.trials]
    other = dataclasses.replace(
        table,
        entrants=tuple(shuffled(table.entrants)),
        workloads=tuple(shuffled(table.workloads)),
        trials=tuple(shuffled(rows)),
    )
    assert score_of(other) == pytest.approx(score_of(table), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(boards(), st.lists(st.integers(-6, 6), min_size=3, max_size=3))
def test_scaling_a_workload_by_a_power_of_two_changes_no_score(table, exponents):
    factor = {workload.name: 2.0**k for workload, k in zip(table.workloads, exponents, strict=False)}
    rows = tuple(
        dataclasses.replace(row, reference_steps=row.reference_steps * factor[row.workload]) for row in table.trials
    )
    assert score_of(dataclasses.replace(table, trials=rows)) == score_of(table)


@settings(max_examples=60, deadline=None)
@given(boards())
def test_renaming_entrants_and_workloads_changes_no_score(table):
    def new(name):
        return "z" + name[::-1]

    rows = tuple(
        dataclasses.replace(row, submission=new(row.submission), workload=new(row.workload)) for row in table.trials
    )
    other = dataclasses.replace(
        table,
        entrants=tuple(map(new, table.entrants)),
        workloads=tuple(dataclasses.replace(w, name=new(w.name)) for w in table.workloads),
        trials=rows,
        expected=frozenset(row.key for row in rows),
    )
    assert list(score_of(other).values()) == list(score_of(table).values())


@settings(max_examples=60, deadline=None)
@given(boards(), st.data())
def test_slower_trial_never_gains_for_its_submission(table, data):
    i = data.draw(st.integers(0, len(table.trials) - 1))
    slower = data.draw(st.sampled_from([1.01, 1.5, 3.0, INF, math.nan]))
    row = table.trials[i]
    rows = list(table.trials)
    rows[i] = dataclasses.replace(row, reference_steps=row.reference_steps * slower)
    worse = dataclasses.replace(table, trials=tuple(rows))
    assert score_of(worse)[row.submission] <= score_of(table)[row.submission] + 1e-12


@settings(max_examples=30, deadline=None)
@given(boards())
def test_score_lies_between_zero_and_one(table):
    assert all(0 <= score <= 1 for score in score_of(table).values())
