"""Intervals of scores, ranks, profiles and cells."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring
from scoring import statistics, time_to_result

INF, NAN = math.inf, math.nan


def times(seed=0, shape=(3, 4, 3), sd=0.1):
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(5, 0.3, (*shape[:2], 1)) + sd * rng.normal(size=shape))


def intervals(board, **more):
    found = statistics.score_intervals(board, **more)
    assert found is not None
    return found


def against(medians):
    return scoring.scores_vs_reference(medians, np.full(medians.shape[-1], 150.0))


def profile(medians):
    return scoring.profile(scoring.ratios(scoring.apply_rules(medians)))


# ----------------------------------------------------------------------------------- scores, ranks, profiles


BOARDS = st.tuples(st.integers(0, 2**20), st.integers(1, 4), st.integers(1, 4), st.integers(3, 5), st.floats(0.01, 0.5))


def board_of(drawn, holes=0.2):
    seed, submissions, workloads, studies, sd = drawn
    board = times(seed, (submissions, workloads, studies), sd)
    kind = np.random.default_rng(seed + 1).random(board.shape)
    board[kind < holes] = INF
    gone = kind > 1 - holes / 2
    left = (~gone).sum(axis=-1, keepdims=True)
    board[gone & ((left == 0) | (left >= statistics.FEWEST))] = NAN
    return board


@settings(max_examples=40, deadline=None)
@given(BOARDS)
def test_every_interval_contains_what_was_observed(drawn):
    board = board_of(drawn)
    found = intervals(board, against=against, profile=profile, draws=100)
    medians = scoring.medians(board, scoring.ALGOPERF)
    scores = scoring.scores(medians)
    seen = (scores, time_to_result.ranks(scores), against(medians), profile(medians))
    for interval, value in zip((found.score, found.rank, found.vs_reference, found.profile), seen, strict=True):
        assert interval.shape == (*value.shape, 2)
        assert (interval[..., 0] <= value + 1e-12).all()
        assert (value <= interval[..., 1] + 1e-12).all()
    assert found.score.min() >= 0
    assert found.score.max() <= 1


@settings(max_examples=30, deadline=None)
@given(BOARDS, st.integers(-6, 6), st.randoms(use_true_random=False))
def test_units_of_a_workload_and_order_of_studies_change_nothing(drawn, exponent, random):
    board = board_of(drawn)
    order = list(range(board.shape[-1]))
    random.shuffle(order)
    other = board[..., order].copy()
    other[:, 0] *= 2.0**exponent
    found, again = intervals(board, draws=200), intervals(other, draws=200)
    assert again.score == pytest.approx(found.score, abs=1e-12)
    assert np.array_equal(again.rank, found.rank)


def test_order_of_submissions_and_workloads_matters_to_the_draws_alone():
    board = times(shape=(4, 5, 5))
    found = intervals(board)
    rows, columns = [2, 0, 3, 1], [4, 2, 0, 1, 3]
    assert intervals(board[rows][:, columns]).score == pytest.approx(found.score[rows], abs=0.01)
    assert np.array_equal(intervals(board[rows][:, columns]).rank, found.rank[rows])


def test_intervals_are_a_function_of_the_table():
    assert np.array_equal(intervals(times()).score, intervals(times()).score)


def test_absent_studies_are_left_out_and_not_drawn():
    # A column of absent studies more: the same medians, the same places to draw from.
    board = times(shape=(2, 3, 3))
    padded = np.concatenate([board, np.full((2, 3, 2), NAN)], axis=-1)
    assert intervals(padded).score == pytest.approx(intervals(board).score, abs=0.01)
    one = np.array([[[8.0, NAN, NAN]], [[4.0, 4.0, 4.0]]])
    assert np.unique(statistics.resampled_medians(one)[:, 0]).tolist() == [8.0]


def test_cell_without_studies_fails():
    board = times(shape=(2, 1, 3))
    board[0] = NAN
    assert np.isnan(statistics.resampled_medians(board)[:, 0]).all()
    assert intervals(board).score.tolist() == [[0, 0], [1, 1]]
    assert intervals(board).rank.tolist() == [[2, 2], [1, 1]]


def test_interval_of_studies_that_agree_is_a_point():
    board = np.repeat(times(shape=(2, 3, 1)), 3, axis=-1)
    found = intervals(board).score
    assert found == pytest.approx(np.repeat(scoring.scores(scoring.medians(board))[:, None], 2, axis=1))


@pytest.mark.parametrize("studies", [1, 2])
def test_fewer_than_three_studies_have_no_interval(studies):
    assert statistics.score_intervals(times(shape=(2, 2, studies))) is None


def test_cell_with_too_few_studies_leaves_nobody_an_interval_and_one_without_any_does():
    board = times(shape=(3, 2, 4))
    for present in (1, 2):
        board[1, 0] = [5.0] * present + [NAN] * (4 - present)
        assert statistics.score_intervals(board) is None
    board[1, 0, 2] = INF  # a study that missed is a study
    assert intervals(board).score.shape == (3, 2)
    board[1, 0] = NAN
    assert intervals(board).score.shape == (3, 2)


def test_score_against_the_reference_comes_from_the_same_draws_beside_held_out_columns():
    # The caller picks the base columns; the held-out one fails its base for the score alone.
    board = times(shape=(3, 3, 3))
    board[0, 2] = INF
    found = intervals(
        board,
        score=lambda medians: scoring.scores(medians, scoring.OURS, [(2, 1)]),
        against=lambda medians: against(medians[..., :2]),
    )
    assert found.score[0].max() <= 0.5 < found.vs_reference[0].min()
    assert np.array_equal(found.vs_reference, intervals(board, score=lambda medians: against(medians[..., :2])).score)


def test_field_that_never_hits_scores_zero_and_shares_rank_one():
    found = intervals(np.full((2, 2, 3), INF))
    assert found.score.tolist() == [[0, 0], [0, 0]]
    assert found.rank.tolist() == [[1, 1], [1, 1]]


def test_ranks_of_entrants_far_apart_are_certain_and_of_tied_ones_are_not():
    board = times(shape=(4, 8, 5), sd=0.05) / times(shape=(4, 8, 5), sd=0.0)
    board *= np.array([1, 1, 2, 3])[:, None, None]
    assert intervals(board).rank.tolist() == [[1, 2], [1, 2], [3, 3], [4, 4]]


def test_equal_scores_share_the_better_rank():
    board = np.ones((3, 2, 3)) * np.array([2.0, 1, 1])[:, None, None]
    assert intervals(board).rank.tolist() == [[3, 3], [1, 1], [1, 1]]


def test_ranks_of_scores_that_differ_by_rounding_alone_are_shared():
    found = time_to_result.ranks(np.array([[0.1 + 0.2, 0.3, 0.9], [0.3, 0.3 + 1e-6, 0.1]]))
    assert found.tolist() == [[2, 2, 1], [2, 1, 3]]


def test_score_of_the_caller_is_used():
    board = times(shape=(2, 3, 3))
    found = intervals(board, score=lambda medians: 0.5 + 0 * medians.sum(axis=-1))
    assert found.score.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert (found.vs_reference, found.profile) == (None, None)


def test_draws_are_centred_on_the_score_of_a_tied_field():
    # Draws of a tied field lose more to the field's best than the board did: uncentred, whole intervals lie below
    # the score. Slow and fast studies alternate between workloads, so nothing is common to a study.
    board = np.tile([np.roll([1.0, 1.1, 1.2], w) for w in range(9)], (8, 1, 1))
    drawn = scoring.scores(statistics.resampled_medians(board))
    assert np.percentile(drawn, 97.5, axis=0).max() < 1
    assert intervals(board).score[:, 1] == pytest.approx(1)


def test_median_of_the_draws_is_moved_not_their_mean():
    # One hit of three: 7 draws of 27 have the hit. A shift by their mean would leave out the score of a board that hits.
    assert intervals(np.array([[[100.0, INF, INF]]])).score.tolist() == [[0, 1]]


# --------------------------------------------------------------------------------------------- resampling


def test_resampled_medians_of_three_studies_have_the_exact_distribution():
    # The median of 3 draws from {1, 2, 4} is 2 with probability 13/27, each end with 7/27: no new values, no means.
    drawn = statistics.resampled_medians(np.array([[[4.0, 1.0, 2.0]]]), draws=27_000)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1.0, 2.0, 4.0]
    assert counts / 1000 == pytest.approx([7, 13, 7], abs=0.35)


def test_resampled_medians_of_two_studies_average():
    drawn = statistics.resampled_medians(np.array([[[4.0, 1.0]]]), draws=20_000)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [1.0, 2.5, 4.0]
    assert counts / 20_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.012)


def test_resampled_medians_keep_missed_studies():
    drawn = statistics.resampled_medians(np.array([[[100.0, INF, INF]]]), draws=2700)
    assert np.isinf(drawn).mean() == pytest.approx(20 / 27, abs=0.03)


@pytest.mark.parametrize("rho", [0.0, 0.5, 1.0])
def test_cells_of_a_submission_are_drawn_as_correlated_as_its_studies(rho, monkeypatch):
    monkeypatch.setattr(statistics, "study_correlation", lambda times, draws, rng: np.full(draws, rho))
    drawn = np.log(statistics.resampled_medians(np.exp(np.tile([0.0, 1.0, 2.0], (2, 2, 1))), draws=20_000))
    assert np.corrcoef(drawn[:, 0].T)[0, 1] == pytest.approx(rho, abs=0.025)
    assert np.corrcoef(drawn[:, :, 0].T)[0, 1] == pytest.approx(0, abs=0.025)  # of two submissions: never


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8])
def test_study_correlation_is_found(rho):
    rng = np.random.default_rng(1)
    noise = math.sqrt(rho) * rng.normal(size=(30, 1, 20)) + math.sqrt(1 - rho) * rng.normal(size=(30, 8, 20))
    found = statistics.study_correlation(np.exp(noise), 1000, rng)
    assert found.mean() == pytest.approx(rho, abs=0.06)


def test_study_correlation_of_a_worked_board_has_the_f_distribution():
    # One submission, two workloads, deviations (-1, 0, 1) and (-1, 1, 0): study sums -2, 1, 1, between 6 / 2 / 2 = 1.5
    # (2 degrees of freedom), in all 4, within (4 - 3) / 2 = 0.5: F = 3, rho = (3 / f - 1) / (3 / f + 1).
    logs = np.array([[[4.0, 5.0, 6.0], [2.0, 4.0, 3.0]]])
    found = statistics.study_correlation(np.exp(logs), 7, np.random.default_rng(3))
    f = np.random.default_rng(3).f(2, 2, 7)
    assert found == pytest.approx(((3 / f - 1) / (3 / f + 1)).clip(0))


def test_study_correlation_of_two_studies():
    # Deviations (-1, 1) and (-1/2, 1/2): between (1.5^2 + 1.5^2) / 2 = 2.25, within 2.5 - 2.25, both 1 degree: F = 9.
    logs = np.array([[[4.0, 6.0], [2.0, 3.0]]])
    found = statistics.study_correlation(np.exp(logs), 7, np.random.default_rng(3))
    f = np.random.default_rng(3).f(1, 1, 7)
    assert found == pytest.approx(((9 / f - 1) / (9 / f + 1)).clip(0))


def test_study_correlation_is_uncertain_on_a_small_board_and_zero_where_nothing_is_known():
    rng = np.random.default_rng(2)
    small, large = (statistics.study_correlation(times(4, (s, 8, n)), 2000, rng) for s, n in ((2, 3), (20, 10)))
    assert small.std() > 3 * large.std()
    for board in (times(shape=(3, 1, 5)), np.full((2, 3, 3), INF), np.full((2, 3, 3), 7.0)):
        assert statistics.study_correlation(board, 5, rng).tolist() == [0] * 5


# -------------------------------------------------------------------------------------------------- cells


def test_cell_interval_of_a_worked_board():
    # Two cells, logs -0.1, 0, 0.1 (SS 0.02) and -0.3, 0, 0.3 (SS 0.18): s2_board = 0.2 / 4 = 0.05. Mutations `ddof`
    # and the degrees of freedom are killed here: s2 = (SS + 4 x 0.05) / 6, t(6) at 0.975 = 2.446912 (table).
    logs = np.array([[[-0.1, 0.0, 0.1], [-0.3, 0.0, 0.3]]])
    found = np.log(scoring.cell_intervals(np.exp(logs)))
    for cell, square_sum in ((0, 0.02), (1, 0.18)):
        half = 2.446912 * math.sqrt((square_sum + 0.2) / 6 / 3)
        assert found[0, cell] == pytest.approx([-half, half], abs=1e-6)


def test_cell_interval_of_a_worked_board_with_absent_studies():
    # n = 3 with SS 0.02 and n = 2 with SS 0.02: s2_board = 0.04 / 3. t(6) = 2.446912, t(5) = 2.570582 (table).
    logs = np.array([[[-0.1, 0.0, 0.1], [-0.1, NAN, 0.1]]])
    found = np.log(scoring.cell_intervals(np.exp(logs)))
    for cell, n, t in ((0, 3, 2.446912), (1, 2, 2.570582)):
        half = t * math.sqrt((0.02 + 4 * 0.04 / 3) / (n + 3) / n)
        assert found[0, cell] == pytest.approx([-half, half], abs=1e-6)


def test_cell_interval_is_left_out_where_a_study_missed_and_the_rest_stands():
    board = times(shape=(2, 2, 3))
    board[0, 0, 1] = INF
    found = scoring.cell_intervals(board)
    assert np.isnan(found[0, 0]).all()
    # The pooled variance is that of the other cells alone.
    others = scoring.cell_intervals(np.stack([board[0, 1], *board[1]])[None])[0]
    assert found[[0, 1, 1], [1, 0, 1]] == pytest.approx(others, rel=1e-12)


def test_cell_interval_of_one_study_or_of_misses_alone_is_none():
    assert np.isnan(scoring.cell_intervals(times(shape=(2, 2, 1)))).all()
    assert np.isnan(scoring.cell_intervals(np.full((2, 2, 3), INF))).all()
    assert np.isnan(scoring.cell_intervals(np.full((2, 2, 3), NAN))).all()
    assert np.isnan(scoring.cell_intervals(np.array([[[1.0, NAN], [1.0, 2.0]]]))[0, 0]).all()


@settings(max_examples=40, deadline=None)
@given(BOARDS, st.integers(-6, 6), st.randoms(use_true_random=False))
def test_cell_intervals_scale_with_the_times_and_follow_the_order(drawn, exponent, random):
    board = board_of(drawn)
    orders = [list(range(n)) for n in board.shape]
    for order in orders:
        random.shuffle(order)
    found = scoring.cell_intervals(2.0**exponent * board[np.ix_(*orders)])
    assert found == pytest.approx(2.0**exponent * scoring.cell_intervals(board)[np.ix_(*orders[:2])], rel=1e-9, nan_ok=True)


def test_mean_interval_of_worked_numbers():
    # 1, 2, 3: standard deviation 1 with ddof 1, t(2) at 0.975 = 4.302653 (table).
    half = 4.302653 / math.sqrt(3)
    assert statistics.mean_interval(np.array([1.0, 2.0, 3.0])) == pytest.approx((2, 2 - half, 2 + half), abs=1e-6)
    mean, low, high = statistics.mean_interval(np.array([5.0]))
    assert mean == 5
    assert math.isnan(low)
    assert math.isnan(high)
