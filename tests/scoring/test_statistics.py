"""Intervals of scores and cells."""

import math

import numpy as np
import pytest

import scoring
from scoring import statistics

INF = math.inf


def times(seed=0, shape=(3, 4, 3), sd=0.1):
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(5, 0.3, (*shape[:2], 1)) + sd * rng.normal(size=shape))


def test_score_interval_contains_the_score_and_repeats():
    board = times()
    found = scoring.score_intervals(board, np.full(4, 150.0))
    again = scoring.score_intervals(board, np.full(4, 150.0))
    score = scoring.scores(scoring.medians(board))
    assert (found.score[:, 0] <= score).all()
    assert (score <= found.score[:, 1]).all()
    assert np.array_equal(found.score, again.score)
    assert np.array_equal(found.vs_reference, again.vs_reference)


def test_score_interval_does_not_depend_on_the_order_of_studies():
    board = times()
    assert np.array_equal(scoring.score_intervals(board).score, scoring.score_intervals(board[..., ::-1]).score)


def test_score_interval_of_studies_that_agree_is_a_point():
    board = np.repeat(times(shape=(2, 3, 1)), 3, axis=-1)
    found = scoring.score_intervals(board).score
    assert found == pytest.approx(np.repeat(scoring.scores(scoring.medians(board))[:, None], 2, axis=1))


def test_score_interval_of_one_study_is_none():
    assert scoring.score_intervals(times(shape=(2, 2, 1))) is None


def test_resampled_medians_of_three_studies_have_the_exact_distribution():
    # The median of 3 draws from {1, 2, 4} is 2 with probability 13/27, each end with 7/27: no new values, no means.
    drawn = statistics.resampled_medians(np.array([4.0, 1.0, 2.0]), draws=27_000)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0]
    assert counts / 1000 == pytest.approx([7, 13, 7], abs=0.35)


def test_resampled_medians_keep_missed_studies():
    drawn = statistics.resampled_medians(np.array([100.0, INF, INF]), draws=2700)
    assert np.isinf(drawn).mean() == pytest.approx(20 / 27, abs=0.03)


def test_score_interval_of_a_field_that_never_hits_is_zero():
    assert scoring.score_intervals(np.full((2, 2, 3), INF)).score.tolist() == [[0, 0], [0, 0]]


def test_cell_interval_of_a_worked_board():
    # Two cells, logs -0.1, 0, 0.1 (SS 0.02) and -0.3, 0, 0.3 (SS 0.18): s2_board = 0.2 / 4 = 0.05. Mutations `ddof`
    # and the degrees of freedom are killed here: s2 = (SS + 4 x 0.05) / 6, t(6) at 0.975 = 2.446912 (table).
    logs = np.array([[[-0.1, 0.0, 0.1], [-0.3, 0.0, 0.3]]])
    found = np.log(scoring.cell_intervals(np.exp(logs)))
    for cell, square_sum in ((0, 0.02), (1, 0.18)):
        half = 2.446912 * math.sqrt((square_sum + 0.2) / 6 / 3)
        assert found[0, cell] == pytest.approx([-half, half], abs=1e-6)


def test_cell_interval_is_left_out_where_a_study_missed_and_the_rest_stands():
    board = times(shape=(2, 2, 3))
    board[0, 0, 1] = INF
    found = scoring.cell_intervals(board)
    assert np.isnan(found[0, 0]).all()
    assert np.isfinite(found[[0, 1, 1], [1, 0, 1]]).all()


def test_cell_interval_of_one_study_or_of_misses_alone_is_none():
    assert np.isnan(scoring.cell_intervals(times(shape=(2, 2, 1)))).all()
    assert np.isnan(scoring.cell_intervals(np.full((2, 2, 3), INF))).all()


def test_cell_interval_scales_with_the_times():
    board = times()
    assert scoring.cell_intervals(8 * board) == pytest.approx(8 * scoring.cell_intervals(board), rel=1e-12)
