"""One changed rule at a time, each on a board worked by hand."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings

import scoring
from scoring import ablations
from tests.scoring.boards import board, drawn, slower, trial, with_rows

INF, NAN = math.inf, math.nan
INTERVAL = 10.0  # reference steps between two evaluations


def grid(ratio, end=4.0):
    """What a workload adds to the score, on the hundred points from 1 to `end`."""
    k = next((k for k in range(100) if 1 + (end - 1) * k / 99 >= ratio - 1e-12), None)
    return 0.0 if k is None else 1.0 if k == 0 else (99 - k + 0.5) / 99


def curve(values, interval=INTERVAL):
    """The evaluations of a trial, `interval` apart; a second has a hundred reference steps."""
    times = interval * np.arange(1, len(values) + 1)
    units = {"reference_steps": times, "seconds": times / 100, "steps": times, "steps_x_cost": times}
    return scoring.Curve(np.array(values, float), units)


def curves_of(table):
    """Curves that stop at the hit, for a board of which only the times matter."""
    return {
        row.key: curve(
            [0.5] * row.evaluation + [0.95] if row.hit else [0.5] * 5, row.reference_steps / (row.evaluation + 1)
        )
        if row.hit
        else curve([0.5] * 5)
        for row in table.trials
    }


def recorded(values, direction="max", sd=None, rules=scoring.OURS, budget=100.0):
    """(board, curves) of {entrant: {workload: [[metrics of a trial, ...] of a study, ...]}}; the target is 0.9."""
    table = board(
        {s: {w: [[1.0] * len(study) for study in studies] for w, studies in row.items()} for s, row in values.items()},
        budget=budget,
        rules=rules,
    )
    workloads = tuple(dataclasses.replace(w, direction=direction, metric_sd=sd or 0.0) for w in table.workloads)
    curves = {row.key: curve(values[row.submission][row.workload][row.study][row.trial]) for row in table.trials}
    rows = []
    for key, found in curves.items():
        at = found.first_hit(0.9, direction)
        rows.append(trial(*key, time=INTERVAL * (at + 1) if at >= 0 else INF, evaluation=at))
    return with_rows(dataclasses.replace(table, workloads=workloads), rows), curves


def rows_of(table, curves=None, **kwargs):
    """{rule: row}."""
    found = scoring.ablate(table, curves_of(table) if curves is None else curves, **kwargs)
    assert len({row.rule for row in found}) == len(found)
    return {row.rule: row for row in found}


def kinds(rows):
    return [row.kind for row in rows.values()]


FIELD = {"a": {"w": [[100.0]], "v": [[300.0]]}, "b": {"w": [[250.0]], "v": [[100.0]]}, "c": {"w": [[700.0]], "v": [[INF]]}}
AS_IT_IS = {"a": (1 + grid(3)) / 2, "b": (grid(2.5) + 1) / 2, "c": 0.0}
EASIER, HARDER = (f"targets one standard deviation over seeds {word}" for word in ("easier", "harder"))


# ---------------------------------------------------------------------------------------------- worked by hand


def test_rows_of_our_board_are_all_there_in_order():
    rows = rows_of(board(FIELD))
    assert kinds(rows) == [
        *("as it is", "integral", "limit", "limit", "limit", "limit", "unit", "unit", "time", "target", "target"),
        *("workload", "workload", "submission", "submission", "submission"),
    ]
    first = next(iter(rows.values()))
    assert first.scores == pytest.approx(AS_IT_IS)
    assert (first.ranks, first.swaps, first.note) == ({"b": 1, "a": 2, "c": 3}, 0, "")


def test_rows_of_an_algoperf_board_are_all_there_in_order():
    times = {
        name: {"w": [[time] * 2] * 2, "w_x": [[time] * 2] * 2, "v": [[time] * 2] * 2}
        for name, time in (("a", 100.0), ("b", 200.0))
    }
    rows = rows_of(board(times, rules=scoring.ALGOPERF, held_out={"w_x": "w"}))
    assert kinds(rows) == [
        *("as it is", "integral", "limit", "limit", "limit", "limit", "winner", "absent", "held-out", "unit", "time"),
        *("target", "target", "workload", "workload", "submission", "submission"),
    ]
    assert [row.rule for row in rows.values() if row.kind in ("workload", "submission", "unit")] == [
        *("ranked by optimizer steps", "without w", "without v", "without a", "without b")
    ]


def test_alone_on_one_workload_with_one_trial_nothing_is_left_out():
    few = {"as it is", "integral", "limit", "unit", "time", "target"}
    assert set(kinds(rows_of(board({"a": {"w": [[100.0]]}})))) == few
    assert set(kinds(rows_of(board({"a": {"w": [[100.0]]}}, rules=scoring.ALGOPERF)))) == few | {"absent"}


def test_exact_integral():
    row = rows_of(board(FIELD))["exact integral in place of the grid"]
    assert row.scores == pytest.approx({"a": (1 + 1 / 3) / 2, "b": (0.5 + 1) / 2, "c": 0.0}, abs=1e-12)


@pytest.mark.parametrize("end", [2.0, 3.0, 6.0, 10.0])
def test_limit_moves_the_profile_and_the_cut_together(end):
    row = rows_of(board(FIELD))[f"profile and limit up to {end:g} times the best"]
    expected = {"a": (1 + grid(3, end)) / 2, "b": (grid(2.5, end) + 1) / 2, "c": grid(7, end) / 2}
    assert row.scores == pytest.approx(expected, abs=1e-12)
    assert (row.scores["c"] > 0) == (end == 10)
    assert row.ranks == ({"a": 1, "b": 1, "c": 3} if end == 2 else {"b": 1, "a": 2, "c": 3})
    assert row.swaps == 0  # a tie swaps nobody


def test_study_by_time_in_place_of_index_and_the_other_way_round():
    found = {}
    for rules in (scoring.OURS, scoring.ALGOPERF):
        rows = [
            trial("a", trial=0, time=200.0, evaluation=1),
            trial("a", trial=1, time=100.0, evaluation=2),
            trial("b", trial=0, time=150.0, evaluation=1),
            trial("b", trial=1, time=INF),
        ]
        table = with_rows(board({name: {"w": [[1.0, 1.0]]} for name in "ab"}, rules=rules), rows)
        row = next(row for row in rows_of(table).values() if row.kind == "winner")
        found[rules.winner] = row
        assert row.swaps == 1
    assert found["time"].rule == "a study's time is that of the smallest evaluation index"
    assert found["time"].scores == pytest.approx({"a": grid(200 / 150), "b": 1.0})
    assert found["index"].rule == "a study's time is its smallest time, not its smallest evaluation index"
    assert found["index"].scores == pytest.approx({"a": 1.0, "b": grid(1.5)})


def test_absent_study_as_a_miss():
    # Of three studies a has one on w and two on v, so that as misses w fails and v does not.
    times = {"a": {"w": [[100.0]], "v": [[100.0], [300.0]]}, "b": {"w": [[100.0]] * 3, "v": [[200.0]] * 3}}
    rows = rows_of(board(times, rules=scoring.ALGOPERF))
    assert rows["the rules as they are"].scores == pytest.approx({"a": 1.0, "b": 1.0})
    row = rows["a study without a readable trial is a miss"]
    assert row.scores == pytest.approx({"a": grid(1.5) / 2, "b": 1.0})


def test_held_out_variants_are_left_out_alone_or_with_their_base():
    times = {
        "a": {"w": [[100.0]], "w_x": [[INF]], "v": [[300.0]]},
        "b": {"w": [[200.0]], "w_x": [[100.0]], "v": [[100.0]]},
    }
    rows = rows_of(board(times, rules=scoring.ALGOPERF, held_out={"w_x": "w"}))
    assert rows["the rules as they are"].scores == pytest.approx({"a": grid(3) / 2, "b": 1.0})
    assert rows["without the held-out variants"].scores == pytest.approx({"a": (1 + grid(3)) / 2, "b": (grid(2) + 1) / 2})
    assert rows["without w"].scores == pytest.approx({"a": grid(3), "b": 1.0})
    assert rows["without v"].scores == pytest.approx({"a": 0.0, "b": 1.0})
    assert "without w_x" not in rows


def test_other_units_where_they_are_known_and_may_be_compared():
    rows = (trial("a", time=100.0, steps=400.0, seconds=1.0), trial("b", time=200.0, steps=100.0, seconds=0.5))
    table = with_rows(board({name: {"w": [[1.0]]} for name in "ab"}), rows)
    found = rows_of(table)
    assert found["the rules as they are"].scores == pytest.approx({"a": 1.0, "b": grid(2)})
    assert found["ranked by optimizer steps"].scores == pytest.approx({"a": grid(4), "b": 1.0})
    assert found["ranked by seconds"].scores == pytest.approx({"a": grid(2), "b": 1.0})
    assert [found[f"ranked by {unit}"].swaps for unit in ("optimizer steps", "seconds")] == [1, 1]
    apart = rows_of(table, one_machine=False)
    assert "ranked by seconds" not in apart
    assert "ranked by optimizer steps" in apart
    unknown = with_rows(table, [rows[0], dataclasses.replace(rows[1], steps=INF)])
    assert "ranked by optimizer steps" not in rows_of(unknown, curves_of(table))
    missing = with_rows(table, [rows[0], dataclasses.replace(rows[1], hit=False, steps=INF)])
    assert "ranked by optimizer steps" in rows_of(missing, curves_of(table))


def test_hit_at_the_middle_of_its_interval():
    # Evaluations every 10: hits at 10 (from 0 on), 20 and 40 are at 5, 15 and 35.
    low, high = 0.5, 0.95
    table, curves = recorded(
        {"a": {"w": [[[high]]]}, "b": {"w": [[[low, high]]]}, "c": {"w": [[[low] * 3 + [high]]]}, "d": {"w": [[[low]]]}}
    )
    rows = rows_of(table, curves)
    assert rows["the rules as they are"].scores == pytest.approx({"a": 1.0, "b": grid(2), "c": grid(4), "d": 0.0})
    row = rows["a hit counts at the middle of the interval since the evaluation before"]
    assert row.scores == pytest.approx({"a": 1.0, "b": grid(3), "c": 0.0, "d": 0.0})


def test_leaving_out_a_workload_and_a_submission():
    rows = rows_of(board(FIELD))
    assert rows["without w"].scores == pytest.approx({"a": grid(3), "b": 1.0, "c": 0.0})
    assert rows["without v"].scores == pytest.approx({"a": 1.0, "b": grid(2.5), "c": 0.0})
    assert (rows["without w"].swaps, rows["without v"].swaps) == (0, 1)
    assert rows["without v"].ranks == {"a": 1, "b": 2, "c": 3}
    assert rows["without a"].scores == pytest.approx({"b": 1.0, "c": grid(2.8) / 2})
    assert rows["without b"].scores == pytest.approx({"a": 1.0, "c": 0.0})
    assert rows["without c"].scores == pytest.approx({"a": AS_IT_IS["a"], "b": AS_IT_IS["b"]})


def test_tied_submissions_share_the_better_rank():
    assert scoring.ranks({"a": 0.5, "b": 0.7, "c": 0.7 - 1e-12, "d": 0.1, "e": 0.1}) == {
        "b": 1,
        "c": 1,
        "a": 3,
        "d": 4,
        "e": 4,
    }
    assert scoring.ranks({"a": 0.5, "b": 0.5 + 1e-6}) == {"a": 2, "b": 1}


def test_swaps_count_pairs_in_another_order_ties_apart():
    base = {"a": 0.9, "b": 0.5, "c": 0.5, "d": 0.1}
    assert ablations._swaps(base, {"a": 0.1, "b": 0.5, "c": 0.6, "d": 0.9}) == 5
    assert ablations._swaps(base, {"a": 0.5, "b": 0.5, "c": 0.5 + 1e-12, "d": 0.5}) == 0
    assert ablations._swaps(base, {"d": 0.3, "a": 0.2}) == 1


# ------------------------------------------------------------------------------------------------- moved targets


RISING = {"a": {"w": [[[0.80, 0.86, 0.91, 0.96]]]}, "b": {"w": [[[0.80, 0.84, 0.84, 0.92, 0.955]]]}}


def test_target_moved_by_one_standard_deviation():
    # Target 0.9: hits at 30 and 40. Easier, 0.85: 20 and 40. Harder, 0.95: 40 and 50.
    rows = rows_of(*recorded(RISING, sd=0.05))
    assert rows["the rules as they are"].scores == pytest.approx({"a": 1.0, "b": grid(4 / 3)})
    assert rows[EASIER].scores == pytest.approx({"a": 1.0, "b": grid(2)})
    assert rows[HARDER].scores == pytest.approx({"a": 1.0, "b": grid(5 / 4)})
    assert (rows[EASIER].note, rows[HARDER].note) == ("", "")


def test_target_of_a_metric_to_minimise_moves_the_other_way():
    falling = {"a": {"w": [[[1.2, 0.94, 0.88, 0.84]]]}, "b": {"w": [[[1.2, 0.97, 0.97, 0.89, 0.85]]]}}
    rows = rows_of(*recorded(falling, direction="min", sd=0.05))
    assert rows[EASIER].scores == pytest.approx({"a": 1.0, "b": grid(2)})
    assert rows[HARDER].scores == pytest.approx({"a": 1.0, "b": grid(5 / 4)})


def test_trial_that_ended_before_its_first_evaluation_has_no_curve_and_is_a_miss():
    table, curves = recorded(RISING | {"c": {"w": [[[]]]}}, sd=0.05)
    del curves["c", "w", 0, 0]
    rows = rows_of(table, curves)
    assert rows[EASIER].scores == pytest.approx({"a": 1.0, "b": grid(2), "c": 0.0})
    assert rows[HARDER].scores == pytest.approx({"a": 1.0, "b": grid(5 / 4), "c": 0.0})
    assert math.isnan(ablations.metric_sd(table, {}, "w"))  # nobody was evaluated: not known, and no error


def test_trial_that_missed_may_hit_an_easier_target():
    rows = rows_of(*recorded({"a": {"w": [[[0.8, 0.91]]]}, "b": {"w": [[[0.8, 0.8, 0.86]]]}}, sd=0.05))
    assert rows["the rules as they are"].scores["b"] == 0
    assert rows[EASIER].scores == pytest.approx({"a": 1.0, "b": grid(1.5)})


def test_harder_target_is_not_known_where_trials_stopped_at_the_hit():
    stopped = {"a": RISING["a"], "b": {"w": [[[0.80, 0.92]]]}}
    rows = rows_of(*recorded(stopped, sd=0.05))
    row = rows[HARDER]
    assert (row.scores, row.ranks, row.swaps) == ({}, {}, 0)
    assert row.note == "not known: 1 of 2 hits stopped before they reached the moved target"
    assert rows[EASIER].scores == pytest.approx({"a": 1.0, "b": 1.0})


@pytest.mark.parametrize(("evaluations", "known"), [(10, True), (8, True), (7, False)])
def test_harder_target_is_a_miss_where_the_trial_ran_to_the_end_of_its_budget(evaluations, known):
    # Budget 100, evaluations every 10: the end is within two intervals of it.
    past = {"a": RISING["a"], "b": {"w": [[[0.80, 0.92] + [0.94] * (evaluations - 2)]]}}
    row = rows_of(*recorded(past, sd=0.05))[HARDER]
    assert row.scores == ({"a": 1.0, "b": 0.0} if known else {})


def test_trial_that_hit_at_its_very_last_evaluation_did_not_run_past():
    late = {"a": RISING["a"], "b": {"w": [[[0.8] * 9 + [0.92]]]}}
    assert rows_of(*recorded(late, sd=0.05))[HARDER].scores == {}


def test_moved_target_is_not_known_without_a_standard_deviation():
    alone = rows_of(*recorded(RISING))  # one study
    assert alone[EASIER].note == "not known: no two studies of one point to compare on w"
    assert alone[HARDER].scores == {}
    points = {"a": {"w": [[[0.8, 0.91, 0.92]] * 2] * 2}}  # our studies draw their own points
    assert "no two studies of one point" in rows_of(*recorded(points))[EASIER].note
    assert rows_of(*recorded(points, rules=scoring.ALGOPERF))[EASIER].note == ""
    assert rows_of(*recorded(points, sd=0.05))[EASIER].note == ""


def test_moved_target_is_of_all_workloads_at_once():
    both = {"a": {"w": [[[0.86, 0.91]]], "v": [[[0.8, 0.91]]]}, "b": {"w": [[[0.8, 0.91]]], "v": [[[0.86, 0.91]]]}}
    table, curves = recorded(both, sd=0.05)
    assert rows_of(table, curves)[EASIER].scores == pytest.approx({"a": (1 + grid(2)) / 2, "b": (grid(2) + 1) / 2})
    one_known = dataclasses.replace(
        table, workloads=(table.workloads[0], dataclasses.replace(table.workloads[1], metric_sd=0.0))
    )
    assert rows_of(one_known, curves)[EASIER].note.endswith("compare on v")


def test_standard_deviation_is_over_studies_where_the_first_of_them_hit():
    # a: at index 1 the values are 0.91, 0.89, 0.87, variance 4e-4 (ddof 1); the later 0.99 does not count.
    a = [[[0.5, 0.91, 0.99]], [[0.2, 0.89, 0.91]], [[0.3, 0.87, 0.87]]]
    table, curves = recorded({"a": {"w": a}})
    assert scoring.metric_sd(table, curves, "w") == pytest.approx(0.02)
    # b: variance 16e-4 at its own first hit, index 0; c: 36e-4. The median, not the mean.
    b = [[[0.98]], [[0.94]], [[0.90]]]
    c = [[[0.91]], [[0.85]], [[0.79]]]
    table, curves = recorded({"a": {"w": a}, "b": {"w": b}, "c": {"w": c}})
    assert scoring.metric_sd(table, curves, "w") == pytest.approx(0.04)


def test_standard_deviation_of_those_who_never_hit_counts_only_where_nobody_did():
    # At the last evaluation that all studies have, index 1: 0.5 and 0.7.
    far = [[[0.1, 0.5, 0.8]], [[0.2, 0.7]]]
    table, curves = recorded({"a": {"w": far}})
    assert scoring.metric_sd(table, curves, "w") == pytest.approx(math.sqrt(0.02))
    table, curves = recorded({"a": {"w": far}, "b": {"w": [[[0.90]], [[0.92]]]}})
    assert scoring.metric_sd(table, curves, "w") == pytest.approx(math.sqrt(0.0002))


def test_standard_deviation_leaves_out_what_is_no_number_and_trials_of_other_points():
    values = {"a": {"w": [[[0.90], [0.5]], [[NAN], [0.6]], [[0.94], [0.7]]]}}
    table, curves = recorded(values, rules=scoring.ALGOPERF)
    assert scoring.metric_sd(table, curves, "w") == pytest.approx(math.sqrt(0.0008))
    assert math.isnan(scoring.metric_sd(*recorded({"a": {"w": [[[0.9]], [[NAN]]]}}), "w"))
    assert math.isnan(scoring.metric_sd(*recorded({"a": {"w": [[[0.9]]]}}), "w"))


# --------------------------------------------------------------------------------------------------------- laws


@settings(max_examples=40, deadline=None)
@given(drawn())
def test_row_without_a_submission_is_the_board_without_it(table):
    rows = rows_of(table)
    assert rows["the rules as they are"].scores == scoring.board_scores(table)
    for name in table.entrants if len(table.entrants) > 1 else ():
        left = with_rows(
            dataclasses.replace(table, entrants=tuple(n for n in table.entrants if n != name), trials=()),
            [row for row in table.trials if row.submission != name],
        )
        assert rows[f"without {name}"].scores == scoring.board_scores(left)
        assert rows[f"without {name}"].ranks == scoring.ranks(scoring.board_scores(left))


@settings(max_examples=40, deadline=None)
@given(drawn())
def test_leaving_out_a_submission_that_never_set_a_minimum_changes_nothing(table):
    clones = [dataclasses.replace(slower(row, 1.1), submission="z") for row in table.trials if row.submission == "e0"]
    joined = dataclasses.replace(table, entrants=(*table.entrants, "z"), trials=(), expected=frozenset())
    rows = rows_of(with_rows(joined, [*table.trials, *clones]))
    found = rows["the rules as they are"].scores
    assert rows["without z"].scores == {name: score for name, score in found.items() if name != "z"}
    assert rows["without z"].swaps == 0


@settings(max_examples=40, deadline=None)
@given(drawn())
def test_every_row_is_a_score_with_a_leader_and_the_grid_is_near_the_integral(table):
    rows = rows_of(table)
    for row in rows.values():
        assert all(0 <= score <= 1 for score in row.scores.values())
        assert row.ranks == scoring.ranks(row.scores)
        assert not row.scores or min(row.ranks.values()) == 1
    exact = rows["exact integral in place of the grid"].scores
    on_grid = rows["the rules as they are"].scores
    assert all(abs(exact[name] - on_grid[name]) <= 1 / 198 + 1e-12 for name in exact)  # algoperf.md (e)
