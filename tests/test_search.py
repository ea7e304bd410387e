"""Seeds, search points and the list of trials (P4, P11): golden values, since a change of any changes every board."""

import math

import pytest

from algoperf_lite import errors, records, registry, search, spec
from tests import synthetic_run, tiny_trial


def test_trial_seed_depends_on_board_workload_study_and_trial_and_on_nothing_else():
    seeds = {
        search.trial_seed(b, w, s, t) for b in (0, 1) for w in ("digits_vit", "markov_lm") for s in (0, 1) for t in (0, 1)
    }
    assert len(seeds) == 16
    assert all(0 <= s < 2**31 for s in seeds)
    assert search.trial_seed(0, "digits_vit", 0, 0) == 1046210239


SPACE = {"b": spec.log_uniform(1e-3, 1e-1), "a": spec.uniform(2.0, 4.0), "c": spec.choice([1, 2, 4])}


def test_quasi_random_points_are_in_range_and_do_not_hang_on_the_order_of_names():
    points = search.quasi_random(SPACE, 64, seed=5)
    assert points == search.quasi_random(dict(reversed(SPACE.items())), 64, seed=5)
    assert points != search.quasi_random(SPACE, 64, seed=6)
    assert all(1e-3 <= p["b"] <= 1e-1 and 2 <= p["a"] <= 4 and p["c"] in (1, 2, 4) for p in points)
    below = sum(math.log10(p["b"]) < -2 for p in points)
    assert 29 <= below <= 35  # low discrepancy, uniform in the logarithm
    assert points[:8] == search.quasi_random(SPACE, 8, seed=5)


def test_quasi_random_points_of_dimensions_in_sorted_order_keep_their_values():
    """Halton's first dimension, base 2, belongs to the first name in the alphabet."""
    both = search.quasi_random({"z": spec.uniform(0, 1), "a": spec.uniform(0, 1)}, 16, seed=3)
    halves = [p["a"] < 0.5 for p in both]
    assert all(halves[k] != halves[k + 1] for k in range(0, 16, 2))


@pytest.fixture
def submission(tmp_path):
    def write(**names):
        lines = [f"{k} = {v}" for k, v in names.items()]
        body = "\n" + "\n".join(lines) + "\n\ndef build(problem, hparams):\n    return optax.sgd(0.1)\n"
        return registry.load_submission(tiny_trial.write_submission(tmp_path, body))

    return write


def test_self_tuning_runs_the_defaults_once_per_study():
    entry = registry.load_submission("nadamw")
    assert search.points(entry, "self", 5, 3) == [[entry.resolve({})]] * 3


def test_external_runs_five_points_per_study_other_ones_in_each_the_same_for_all_workloads():
    entry = registry.load_submission("nadamw")
    points = search.points(entry, "external", 5, 3)
    assert [len(study) for study in points] == [5, 5, 5]
    assert len({p["learning_rate"] for study in points for p in study}) == 15
    assert search.points(entry, "external", 5, 5)[:3] == points
    assert search.points(entry, "external", 6, 3) != points
    assert {"b1", "b2", "horizon_fraction"} <= set(points[0][0])
    assert not any(name.startswith("one_minus_") for name in points[0][0])


def test_external_with_listed_points_runs_the_first_five(submission):
    entry = submission(SPACE=[{"rate": float(k)} for k in range(7)])
    assert search.points(entry, "external", 5, 2) == [[{"rate": float(k)} for k in range(5)]] * 2


@pytest.mark.parametrize(
    ("names", "ruleset", "message"),
    [
        ({"SPACE": "{'rate': spec.uniform(0, 1)}"}, "self", "has no DEFAULTS; the self-tuning ruleset runs them"),
        ({}, "external", "has neither SPACE nor DEFAULTS"),
        ({"SPACE": [{"rate": 1.0}] * 4}, "external", "SPACE lists 4 points; the external ruleset runs 5"),
    ],
)
def test_submission_that_a_ruleset_cannot_run_is_refused(names, ruleset, message, submission):
    with pytest.raises(errors.UserError, match=message):
        search.points(submission(**names), ruleset, 0, 1)


@pytest.mark.parametrize(
    ("budget", "interval", "factor", "cost", "cap"),
    [
        (800, 16, 1.0, 1.0, 800),
        (800, 16, 1.5, 1.0, 1200),
        (800, 16, 1.0, 2.0, 400),
        (800, 16, 1.0, 1.1, 720),  # 727.27
        (800, 16, 1.0, 0.5, 1600),
        (800, 16, 1.0, 1e9, 16),  # one evaluation at least
        (600, 12, 1.5, 1.5, 600),
        (600, 12, 1.0, 0.1 * 3 / 0.3, 600),  # a ratio that rounds to just above 1
    ],
)
def test_step_cap_is_rounded_down_to_an_evaluation(budget, interval, factor, cost, cap):
    assert search.step_cap(budget, interval, factor, cost) == cap


def test_trials_of_a_board_are_unique_and_entrants_share_their_seeds():
    board = synthetic_run.benchmark(entrants=("nadamw", "lion", "aa"), studies=2, points=3)
    specs = search.trials(board)
    assert len(specs) == len({s.id for s in specs}) == 3 * 2 * 2 * 3
    shared = {}
    for s in specs:
        shared.setdefault((s.workload, s.study, s.trial), []).append(s)
    assert all(len({s.seed for s in group}) == 1 and len(group) == 3 for group in shared.values())
    assert len({group[0].seed for group in shared.values()}) == len(shared)
    assert [s.entrant for s in specs[:4]] == ["nadamw", "lion", "aa", "nadamw"]
    assert [s.study for s in specs] == sorted(s.study for s in specs)


def test_static_key_names_the_static_part_alone():
    entrant = records.Entrant(name="e", source="e", sha256="0", points=[], static=["kind", "absent"])
    assert search.static_key(entrant, {"kind": "a", "rate": 0.1}) == '{"kind": "a"}'


def test_one_held_out_of_each_family_is_drawn_by_the_seed():
    candidates = {"a": ["x:1", "x:2", "x:3"], "b": ["y:1", "y:2"]}
    drawn = [tuple(search.held_outs(candidates, seed)) for seed in range(200)]
    assert {len(d) for d in drawn} == {2}
    assert {d[0] for d in drawn} == set(candidates["a"])
    assert {d[1] for d in drawn} == set(candidates["b"])
    assert drawn[7] == tuple(search.held_outs({"b": ["y:2", "y:1"], "a": ["x:3", "x:2", "x:1"]}, 7))  # order is nothing
