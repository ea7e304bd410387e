"""Tuning luck against every subset (P19)."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoring import tuning

INF = math.inf


def by_subsets(times, charged):
    """hit, best, cost for k = 1 ... K: the mean over studies and subsets, written down as it is defined."""
    studies, trials = times.shape
    rows = []
    for k in range(1, trials + 1):
        subsets = [(s, list(c)) for s in range(studies) for c in itertools.combinations(range(trials), k)]
        best = [times[s, c].min() for s, c in subsets]
        reached = [t for t in best if t < INF]
        cost = np.mean([charged[s, c].sum() for s, c in subsets])
        rows.append((len(reached) / len(best), np.mean(reached) if reached else math.nan, cost))
    return np.array(rows).T


CELLS = st.integers(1, 5).flatmap(
    lambda trials: st.lists(
        st.lists(st.one_of(st.integers(1, 50).map(float), st.just(INF)), min_size=trials, max_size=trials),
        min_size=1,
        max_size=4,
    ).map(np.array)
)


def assert_same(found, expected):
    for name, values in zip(("hit", "best", "cost"), expected, strict=True):
        assert getattr(found, name) == pytest.approx(values, rel=1e-12, nan_ok=True), name


@settings(max_examples=150, deadline=None)
@given(CELLS)
def test_equals_the_mean_over_all_subsets(times):
    charged = np.where(np.isfinite(times), times, 60.0) + np.arange(times.shape[1])
    assert_same(tuning.luck(times, charged), by_subsets(times, charged))


def test_worked_cell():
    # Two studies of three trials. k = 1: 3 of 6 hit, mean (2 + 4 + 3) / 3. k = 2: study one misses never (best 2, 2, 4),
    # study two in one subset of three (best 3, 3): 5 of 6 hit, mean 14 / 5. k = 3: 2 and 3.
    times = np.array([[4.0, INF, 2.0], [INF, 3.0, INF]])
    found = tuning.luck(times, np.where(np.isinf(times), 10.0, times))
    assert found.hit == pytest.approx([1 / 2, 5 / 6, 1])
    assert found.best == pytest.approx([3.0, 14 / 5, 2.5])
    assert found.cost == pytest.approx([39 / 6, 39 / 3, 39 / 2])


def test_all_trials_of_a_study_give_its_own_result():
    times = np.array([[5.0, 3.0, INF, 9.0]])
    found = tuning.luck(times, np.full((1, 4), 10.0))
    assert (found.hit[-1], found.best[-1], found.cost[-1]) == pytest.approx((1.0, 3.0, 40.0))


def test_cell_that_never_hits_has_a_cost_and_no_time():
    found = tuning.luck(np.full((2, 3), INF), np.full((2, 3), 7.0))
    assert found.hit.tolist() == [0, 0, 0]
    assert np.isnan(found.best).all()
    assert found.cost == pytest.approx([7, 14, 21])


@settings(max_examples=60, deadline=None)
@given(CELLS, st.randoms(use_true_random=False), st.integers(-4, 4))
def test_order_changes_nothing_and_times_scale(times, random, exponent):
    charged = np.where(np.isfinite(times), times, 60.0)
    rows, columns = list(range(times.shape[0])), list(range(times.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    found, scale = tuning.luck(times, charged), 2.0**exponent
    shuffled = tuning.luck(scale * times[rows][:, columns], scale * charged[rows][:, columns])
    assert_same(shuffled, (found.hit, scale * found.best, scale * found.cost))


@settings(max_examples=60, deadline=None)
@given(CELLS)
def test_more_trials_hit_more_often_and_cost_more(times):
    found = tuning.luck(times, np.full(times.shape, 60.0))
    assert (np.diff(found.hit) >= -1e-12).all()
    assert (np.diff(found.cost) > 0).all()
