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
from tests.scoring.boards import board, drawn, missed, slower, trial, with_rows

INF = math.inf


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


# ------------------------------------------------------------------------------ worked by hand: what AlgoPerf does apart


def test_study_by_index_takes_the_smallest_then_the_smaller_time_and_shows_it_in_any_unit():
    rows = (
        trial(trial=1, time=100.0, steps=300.0, evaluation=2),
        trial(trial=2, time=120.0, steps=60.0, evaluation=1),
        trial(trial=3, time=110.0, steps=70.0, evaluation=1),
        trial(trial=4, time=INF),
    )
    table = dataclasses.replace(board({"a": {"w": [[1.0] * 5]}}, rules=scoring.ALGOPERF), trials=rows)
    assert scoring.winners(table, "seconds") == {("a", "w", 0): rows[2]}
    assert scoring.study_times(table, "seconds").tolist() == [[[1.10]]]
    assert scoring.study_times(table, "seconds", shown="steps").tolist() == [[[70.0]]]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("rules", [scoring.OURS, scoring.ALGOPERF])
def test_tie_in_all_goes_to_the_smaller_trial_number(rules, order):
    rows = (trial(trial=0, steps=7.0), trial(trial=1, steps=5.0))[::order]
    table = dataclasses.replace(board({"a": {"w": [[1.0, 1.0]]}}, rules=rules), trials=rows)
    assert scoring.winners(table, table.unit)["a", "w", 0].trial == 0


def test_trial_that_missed_can_hide_a_faster_one_by_index_but_not_by_time():
    # Why our boards do not rank by index: a study gains when its trial of the smallest index misses.
    rows = (trial(trial=0, time=120.0, evaluation=1), trial(trial=1, time=100.0, evaluation=2))
    for rules, expected in ((scoring.ALGOPERF, (120.0, 100.0)), (scoring.OURS, (100.0, 100.0))):
        both = dataclasses.replace(board({"a": {"w": [[1.0, 1.0]]}}, rules=rules), trials=rows)
        missed = dataclasses.replace(both, trials=(trial(trial=0, time=INF), rows[1]))
        found = [scoring.study_times(table, table.unit, "reference_steps").item() for table in (both, missed)]
        assert tuple(found) == expected


def test_spacing_of_evaluations_is_the_interval_at_the_cost_of_a_step():
    # Intervals of 10 optimizer steps. a: 4 reference steps each; half of b's studies missed; nobody knows what c's cost.
    table = board({name: {"w": [[1.0]] * 4} for name in "abc"})
    times = {"a": (200.0, 100.0, 400.0, INF), "b": (INF, 50.0, INF, 100.0), "c": (INF,) * 4}
    rows = [trial(name, study=j, time=t, steps=t / 4) for name, row in times.items() for j, t in enumerate(row)]
    assert scoring.spacing(with_rows(table, rows)).tolist() == [[40.0], [40.0], [10.0]]
    noisy = [dataclasses.replace(row, noisy=True) for row in rows]
    assert scoring.spacing(with_rows(table, noisy)).tolist() == [[40.0], [40.0], [10.0]]  # steps_x_cost, 4 here too
    seconds = dataclasses.replace(with_rows(table, rows), rules=scoring.ALGOPERF)
    assert scoring.spacing(seconds).tolist() == [[10.0]] * 3  # AlgoPerf evaluates by the clock


def test_median_drops_absent_studies_where_the_rules_say_so():
    times = np.array([[np.nan, 4.0, 5.0], [np.nan, np.nan, 5.0], [np.nan, 4.0, INF], [INF, 4.0, 5.0], [np.nan] * 3])
    assert scoring.medians(times, scoring.ALGOPERF)[:4].tolist() == [4.5, 5.0, INF, 5.0]
    assert np.isnan(scoring.medians(times, scoring.ALGOPERF)[4])
    assert scoring.medians(times, scoring.OURS).tolist() == [5.0, INF, INF, 5.0, INF]


def test_median_of_an_even_count_is_numpys():
    times = np.array([0.1, 0.7, 0.2, 0.9])
    assert scoring.medians(times, scoring.ALGOPERF) == np.median(times)
    assert scoring.medians(np.array([*times, np.nan]), scoring.ALGOPERF) == np.median(times)


@pytest.mark.parametrize(
    ("times", "expected"),
    [  # columns: w and its variant
        ([[100.0, 100.0], [100.0, 100.0]], [100.0, 100.0]),
        ([[100.0, 100.0], [100.0, INF]], [100.0, INF]),  # step 7
        ([[100.0, 100.0], [100.0, 400.0]], [100.0, 100.0]),
        ([[100.0, 100.0], [100.0, 401.0]], [100.0, INF]),  # step 6 on the variant's column
        ([[INF, 10.0], [100.0, 100.0]], [INF, 100.0]),  # step 5: no best by whom the base was missed
        ([[np.nan, 10.0], [100.0, 100.0]], [INF, 100.0]),
        ([[50.0, INF], [201.0, 60.0]], [INF, INF]),  # step 6 before step 7
        ([[500.0, 10.0], [100.0, 41.0]], [INF, INF]),  # step 5 is not taken again after step 6
        ([[100.0, np.nan], [100.0, 100.0]], [INF, 100.0]),
    ],
)
def test_held_out_rules_in_their_order(times, expected):
    kept = np.array(times)
    found = time_to_result.apply_rules(kept, scoring.ALGOPERF, [(1, 0)])
    assert found[:, 0].tolist() == expected
    assert np.array_equal(kept, np.array(times), equal_nan=True)  # the argument is left alone
    moved = time_to_result.apply_rules(kept[:, ::-1], scoring.ALGOPERF, [(0, 1)])
    assert moved[:, 0].tolist() == expected


def test_best_is_taken_again_after_the_held_out_rules():
    times = np.array([[50.0, INF], [100.0, 60.0], [200.0, 60.0]])
    assert scoring.scores(times, scoring.ALGOPERF, [(1, 0)]) == pytest.approx([0.0, 1.0, (99 - 33 + 0.5) / 99])


@pytest.mark.parametrize("ratio", [1.0, 1.01, 2.5, 3.999, 4.0, 4.001, INF])
def test_exact_integral_is_what_remains_of_the_range(ratio):
    exact = dataclasses.replace(scoring.OURS, points=None)
    assert scoring.scores(np.array([[8.0], [8.0 * ratio]]), exact)[1] == pytest.approx(max(4 - ratio, 0) / 3)


def test_grid_and_limit_follow_the_rules():
    assert np.array_equal(scoring.OURS.taus, np.linspace(1, 4, 100))
    wide = dataclasses.replace(scoring.OURS, tau_max=10.0, limit=10.0)
    assert (wide.taus[0], wide.taus[-1], len(wide.taus)) == (1.0, 10.0, 100)
    times = np.array([[10.0], [55.0], [100.0], [101.0]])
    assert scoring.scores(times, wide) == pytest.approx([1.0, 49.5 / 99, 0.5 / 99, 0.0])


def test_speedup_is_a_geometric_mean_in_which_a_miss_is_the_budget_and_a_second():
    times = np.array([[10.0, 20.0], [40.0, INF], [np.nan, 20.0], [5.0, 40.0]])
    found = scoring.speedups(times, 0, np.array([50.0, 319.0]))
    assert found[:2].tolist() == pytest.approx([1.0, math.sqrt(4 * 16)])
    assert np.isnan(found[2])
    assert found[3] == pytest.approx(1.0)


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
    assert scoring.board_scores(table)["b"] == 1.0
    assert scoring.board_scores(table)["a"] < 1.0


# --------------------------------------------------------------------------------------------------------- laws
# For our rule and AlgoPerf's, with and without held-out variants.


def laws(test):
    """Run a law on drawn boards of both rules."""
    return settings(max_examples=80, deadline=None)(given(drawn(), st.integers(0, 2**32).map(random.Random))(test))


def shuffled(values, rng):
    return rng.sample(list(values), len(values))


@laws
def test_permuting_rows_entrants_workloads_studies_and_trials_changes_no_score(table, rng):
    # Studies and trials in an order of each cell's own: nothing pairs them.
    studies = {row.key[:2]: shuffled(range(table.studies), rng) for row in table.trials}
    points = {row.key[:3]: shuffled(range(table.points), rng) for row in table.trials}
    rows = [
        dataclasses.replace(row, study=studies[row.key[:2]][row.study], trial=points[row.key[:3]][row.trial])
        for row in table.trials
    ]
    other = dataclasses.replace(
        with_rows(table, shuffled(rows, rng)),
        entrants=tuple(shuffled(table.entrants, rng)),
        workloads=tuple(shuffled(table.workloads, rng)),
    )
    assert scoring.board_scores(other) == pytest.approx(scoring.board_scores(table), abs=1e-12)


@laws
def test_scaling_a_column_by_a_power_of_two_changes_no_score(table, rng):
    # A held-out variant is a column of its own.
    factor = {workload.name: 2.0 ** rng.randint(-6, 6) for workload in table.workloads}
    rows = [slower(row, factor[row.workload]) for row in table.trials]
    assert scoring.board_scores(with_rows(table, rows)) == scoring.board_scores(table)


@laws
def test_renaming_entrants_and_workloads_changes_no_score(table, rng):
    new = {name: f"{rng.random()}" for name in [*table.entrants, *(w.name for w in table.workloads)]} | {None: None}
    rows = [dataclasses.replace(row, submission=new[row.submission], workload=new[row.workload]) for row in table.trials]
    renamed = tuple(dataclasses.replace(w, name=new[w.name], held_out_of=new[w.held_out_of]) for w in table.workloads)
    other = dataclasses.replace(
        table,
        entrants=tuple(new[name] for name in table.entrants),
        workloads=renamed,
        trials=tuple(rows),
        expected=frozenset(row.key for row in rows),
    )
    assert list(scoring.board_scores(other).values()) == list(scoring.board_scores(table).values())


@laws
def test_time_that_is_no_number_is_a_miss(table, rng):
    chosen = {row.key for row in table.trials if rng.random() < 0.3}
    bad = [slower(row, rng.choice([math.nan, INF])) if row.key in chosen else row for row in table.trials]
    out = [missed(row) if row.key in chosen else row for row in table.trials]
    assert scoring.board_scores(with_rows(table, bad)) == scoring.board_scores(with_rows(table, out))


@laws
def test_submission_of_times_that_are_no_numbers_scores_nothing(table, rng):
    rows = [slower(row, rng.choice([math.nan, INF])) if row.submission == "e0" else row for row in table.trials]
    assert scoring.board_scores(with_rows(table, rows))["e0"] == 0


@laws
def test_slower_submission_never_gains(table, rng):
    # One trial slower at the same evaluation; or a whole study missed. By time a single miss never gains either.
    victim = rng.choice(table.trials) if table.trials else None
    factor = rng.choice([1.01, 1.5, 3.0, 100.0, None])
    lost = victim.key[: 4 if table.rules.winner == "time" else 3] if victim else ()

    def worse(row):
        if factor is None:
            return missed(row) if row.key[: len(lost)] == lost else row
        return slower(row, factor) if row is victim else row

    other = with_rows(table, [worse(row) for row in table.trials])
    if victim:
        name = victim.submission
        assert scoring.board_scores(other)[name] <= scoring.board_scores(table)[name] + 1e-12


@laws
def test_submission_that_never_sets_a_minimum_leaves_the_others_alone(table, rng):
    # z is another submission made slower: its being there, or slower still, or gone changes nothing for the others.
    model, factor = rng.choice(table.entrants), rng.choice([1.0, 1.02, 1.5, 3.0])
    lost = {row.key[1:3] for row in table.trials if rng.random() < 0.2}

    def with_z(factor, lost=()):
        clones = [
            dataclasses.replace(slower(row, factor), submission="z") for row in table.trials if row.submission == model
        ]
        rows = [missed(row) if row.key[1:3] in lost else row for row in clones]
        joined = dataclasses.replace(table, entrants=(*table.entrants, "z"), trials=(), expected=frozenset())
        return scoring.board_scores(with_rows(joined, [*table.trials, *rows]))

    alone = scoring.board_scores(table)
    for found in (with_z(factor), with_z(factor * 1.3), with_z(factor, lost)):
        z = found.pop("z")
        assert found == alone
        assert z <= alone[model] + 1e-12
    assert with_z(1.0)["z"] == alone[model]


@laws
def test_score_lies_between_zero_and_one_and_somebody_leads_every_solved_workload(table, rng):
    assert all(0 <= score <= 1 for score in scoring.board_scores(table).values())
    medians = scoring.medians(scoring.study_times(table, table.unit), table.rules)
    kept = time_to_result.apply_rules(medians, table.rules, table.held_out)
    ratio = time_to_result.ratios(kept)
    solved = np.isfinite(kept).any(axis=0)
    assert (ratio.min(axis=0)[solved] == 1).all()
    assert np.isinf(ratio[:, ~solved]).all()
