"""Every rule of P17 has a case."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scoring
from scoring import verdict

INF = math.inf
SPREAD = np.array([-1.0, 0.0, 1.0])  # mean 0, variance 1 with ddof = 1


def cell(time, sd=0.0, studies=3):
    """[studies] times around `time`; the variance of their logs is exactly sd^2 for 3 studies."""
    return time * np.exp(sd * np.resize(SPREAD, studies))


def decide(a, b, paired=False, limit=1000.0):
    """The verdict of A against B; a, b: list over workloads of study times."""
    times = np.array([a, b])
    names = tuple(f"w{i}" for i in range(len(a)))
    (found,) = scoring.verdicts(("A", "B"), names, times, np.full(len(a), limit), paired)
    return found


def test_better_where_the_interval_excludes_zero():
    found = decide([cell(100, 0.02)] * 3, [cell(150, 0.02)] * 3)
    assert (found.verdict, found.additions) == ("better", ())
    assert found.ratio == pytest.approx(2 / 3)
    assert found.interval[1] < 1


def test_ratio_is_the_geometric_mean_over_workloads():
    found = decide([cell(100), cell(100), cell(800)], [cell(100)] * 3)
    assert found.ratio == pytest.approx(2)  # (1 x 1 x 8)^(1/3); their median is 1


def test_worse_is_better_seen_from_the_other_side():
    found = decide([cell(150, 0.02)] * 3, [cell(100, 0.02)] * 3)
    assert found.verdict == "worse"
    assert found.interval[0] > 1


def test_better_by_less_than_five_percent_says_so():
    found = decide([cell(100, 0.001)], [cell(102, 0.001)])
    assert (found.verdict, found.additions) == ("better", ("by less than 5 %",))


def test_equivalent_where_the_interval_lies_inside_five_percent():
    found = decide([cell(100, 0.008)], [cell(100.1, 0.008)])
    assert found.verdict == "equivalent"
    assert 1 / 1.05 < found.interval[0] < 1 < found.interval[1] < 1.05


def test_not_separable_where_the_interval_is_wide():
    assert decide([cell(100, 0.1)], [cell(105, 0.1)]).verdict == "not separable"


def test_interval_of_a_worked_pair_is_welch_over_studies():
    # One workload, logs with variances 0.01 and 0.04, 3 studies: se2 = 0.05 / 3; df = 2 x 0.05^2 / (0.01^2 + 0.04^2)
    # = 2.941. Two workloads with opposite deviations: the mean over workloads has no variance at all, which an
    # analysis cell by cell would not see.
    from scipy import stats

    found = decide([cell(100, 0.1)], [cell(200, 0.2)])
    df = 2 * 0.05**2 / (0.01**2 + 0.04**2)
    half = stats.t.ppf(1 - 0.016 / 2, df) * math.sqrt(0.05 / 3)
    assert np.log(found.interval) == pytest.approx([math.log(0.5) - half, math.log(0.5) + half])
    assert found.p == pytest.approx(2 * stats.t.sf(math.log(2) / math.sqrt(0.05 / 3), df))
    opposite = decide([cell(100, 0.1), cell(100, 0.1)[::-1]], [cell(100)] * 2)
    assert opposite.interval == pytest.approx((1, 1))


def test_paired_uses_the_differences_by_study():
    # Common seeds move both alike: unpaired nothing is seen, paired a difference of 2 % +- almost nothing.
    a, b = [cell(100, 0.3)], [cell(102, 0.301)]
    assert decide(a, b).verdict == "not separable"
    assert decide(a, b, paired=True).verdict == "better"


def test_paired_interval_of_a_worked_pair():
    # Differences of logs d - 0.1, d, d + 0.1: se = 0.1 / sqrt 3, 2 degrees of freedom.
    from scipy import stats

    found = decide([cell(100, 0.3)], [cell(200, 0.2)], paired=True)
    half = stats.t.ppf(1 - 0.016 / 2, 2) * 0.1 / math.sqrt(3)
    assert np.log(found.interval) == pytest.approx([math.log(0.5) - half, math.log(0.5) + half])


@pytest.mark.parametrize(("studies", "look"), [(1, 0), (2, 0), (3, 3), (4, 3), (5, 5), (9, 5), (10, 10), (25, 20)])
def test_verdict_is_taken_at_the_last_look_reached(studies, look):
    assert scoring.last_look(studies) == look
    a, b = [cell(100, 0.01, studies)], [cell(150, 0.01, studies)]
    found = decide(a, b)
    assert found.look == look
    assert found.verdict == ("better" if look else "not separable")
    if look and look != studies:
        assert "the last look reached" in found.additions[-1]
        assert found.interval == pytest.approx(decide([a[0][:look]], [b[0][:look]]).interval)


def test_one_study_is_always_not_separable():
    found = decide([np.array([1.0])], [np.array([900.0])])
    assert found.verdict == "not separable"
    assert math.isnan(found.interval[0])
    assert found.further == {"5%": (None, None), "10%": (None, None)}


def test_holm_of_worked_p_values():
    # alpha / 3 = 0.00533, alpha / 2 = 0.008, alpha = 0.016: the second fails, so the third does, though 0.012 < 0.016.
    levels, rejected = verdict.holm(np.array([0.012, 0.001, np.nan, 0.009]))
    assert rejected.tolist() == [False, True, False, False]
    assert levels[[1, 3, 0]] == pytest.approx([0.016 / 3, 0.016 / 2, 0.016 / 2])
    assert verdict.holm(np.array([0.001, 0.007, 0.016]))[1].all()


def test_holm_makes_a_lone_difference_harder_to_see_on_a_larger_board():
    times = np.array([[cell(100, 0.028)], [cell(115, 0.028)], [cell(107, 0.2)], [cell(108, 0.2)]])
    alone = scoring.verdicts(("a", "b"), ("w",), times[:2], np.array([1000.0]))[0]
    among = scoring.verdicts(tuple("abcd"), ("w",), times, np.array([1000.0]))[0]
    assert alone.verdict == "better"
    assert among.verdict == "not separable"
    assert among.interval[0] < 1 < among.interval[1]


def test_workload_missed_in_most_studies_leaves_the_times():
    a = [cell(100, 0.01), cell(100, 0.01)]
    b = [cell(150, 0.01), np.array([100.0, INF, INF])]
    found = decide(a, b)
    assert found.workloads == ("w0",)
    assert found.by_hits == ("w1",)
    assert found.hits == (3, 1)
    assert found.verdict == "better"
    assert found.ratio == pytest.approx(2 / 3)


def test_single_miss_stays_in_the_times_at_the_clocks_second_stop():
    found = decide([np.array([100.0, 100.0, INF])], [cell(100)], limit=800.0)
    assert found.workloads == ("w0",)
    assert found.ratio == pytest.approx(2.0)  # (1 x 1 x 8)^(1/3)
    assert found.verdict == "not separable"


def test_exactly_half_missed_is_not_most():
    half = np.array([100.0] * 5 + [INF] * 5)
    assert decide([half], [cell(100, studies=10)]).workloads == ("w0",)


def test_no_better_where_times_and_hits_disagree():
    a = [cell(100, 0.01), np.full(3, INF)]
    b = [cell(150, 0.01), cell(100, 0.01)]
    found = decide(a, b)
    assert found.verdict == "not separable"
    assert found.additions == ("the times and the hit counts disagree",)
    assert found.interval[1] < 1  # the times alone would have said better


def test_small_difference_of_times_is_not_called_small_beside_a_lead_in_hits():
    a = [cell(100, 0.001), cell(100)]
    b = [cell(102, 0.001), np.full(3, INF)]
    found = decide(a, b)
    assert (found.verdict, found.additions) == ("better", ())


def test_hit_counts_alone_can_decide():
    a, b = [cell(100, 0.01)] * 3, [np.full(3, INF)] * 3
    found = decide(a, b)
    assert (found.verdict, found.additions) == ("better", ("by hit counts",))
    assert found.hits_p == pytest.approx(2 / 20**3)
    assert math.isnan(found.ratio)
    assert decide(b, a).verdict == "worse"


def test_hit_counts_of_one_workload_at_three_studies_cannot_decide_and_cost_nothing():
    a = [cell(100, 0.01), cell(100)]
    b = [cell(110, 0.01), np.full(3, INF)]
    found = decide(a, b)
    assert found.hits_p == pytest.approx(0.1)
    assert found.alpha == pytest.approx(0.016)  # the test that cannot reject is no part of the family


def test_equal_times_with_unequal_hits_are_not_equivalent():
    a = [cell(100, 0.001), np.array([100.0, INF, INF])]
    b = [cell(100, 0.001), np.full(3, INF)]
    assert decide(a, b).verdict == "not separable"


def test_workloads_that_nobody_hits_leave_nothing_to_compare():
    found = decide([np.full(3, INF)] * 2, [np.full(3, INF)] * 2)
    assert found.verdict == "not separable"
    assert math.isnan(found.ratio)
    assert math.isnan(found.hits_p)


def test_identical_studies_leave_no_doubt():
    assert decide([cell(100)], [cell(100)]).verdict == "equivalent"
    assert decide([cell(100)], [cell(120)]).verdict == "better"


def test_exact_hits_is_fishers_test_for_one_workload():
    from scipy import stats

    for a, b in ((5, 0), (4, 1), (3, 3), (0, 5)):
        expected = stats.fisher_exact([[a, 5 - a], [b, 5 - b]]).pvalue
        assert verdict.exact_hits(np.array([a]), np.array([b]), 5)[0] == pytest.approx(expected)


def test_exact_hits_is_stratified_not_pooled():
    # Both hit all of one workload and none of the other: no outcome but one was possible.
    assert math.isnan(verdict.exact_hits(np.array([3, 0]), np.array([3, 0]), 3)[0])


def test_further_studies_are_steps_to_looks_and_grow_with_the_spread():
    narrow = decide([cell(100, 0.005)] * 3, [cell(100.5, 0.005)] * 3)
    wide = decide([cell(100, 0.5)], [cell(110, 0.5)])
    assert narrow.further["10%"][0] in (0, 2, 7, 17)
    assert narrow.further["10%"][0] <= narrow.further["5%"][0]
    assert wide.further["5%"] == (None, None)


def test_larger_boards_need_more_studies():
    alone = decide([cell(100, 0.02)], [cell(100, 0.02)]).further["10%"]
    times = np.array([[cell(100, 0.02)]] * 8)
    among = scoring.verdicts(tuple("abcdefgh"), ("w",), times, np.array([1000.0]))[0].further["10%"]
    assert tuple(INF if n is None else n for n in alone) < tuple(INF if n is None else n for n in among)


def test_more_studies_are_needed_at_the_upper_end_of_the_range():
    found = decide([cell(100, 0.03)], [cell(101, 0.03)]).further["10%"]
    low, high = (INF if end is None else end for end in found)
    assert low < high


TIMES = st.lists(st.one_of(st.integers(100, 130).map(float), st.just(INF)), min_size=3, max_size=3)
SWAP = {"better": "worse", "worse": "better", "equivalent": "equivalent", "not separable": "not separable"}


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3), st.booleans(), st.permutations(range(3)))
def test_swapping_the_pair_swaps_the_verdict_and_order_changes_nothing(cells, paired, order):
    a, b = ([np.array(row[i]) for row in cells] for i in range(2))
    found, swapped = decide(a, b, paired), decide(b, a, paired)
    assert swapped.verdict == SWAP[found.verdict]
    assert swapped.additions == found.additions
    shuffled = decide([row[list(order)] for row in a][::-1], [row[list(order)] for row in b][::-1], paired)
    assert shuffled.verdict == found.verdict
    assert shuffled.interval == pytest.approx(found.interval, rel=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3), st.integers(-4, 4))
def test_scaling_a_workload_by_a_power_of_two_changes_no_verdict(cells, exponent):
    a, b = ([np.array(row[i]) for row in cells] for i in range(2))
    limits = np.full(len(cells), 1000.0)
    names = tuple(map(str, range(len(cells))))
    before = scoring.verdicts(("A", "B"), names, np.array([a, b]), limits)[0]
    a[0], b[0], limits[0] = a[0] * 2.0**exponent, b[0] * 2.0**exponent, limits[0] * 2.0**exponent
    after = scoring.verdicts(("A", "B"), names, np.array([a, b]), limits)[0]
    assert after.verdict == before.verdict
    assert after.interval == pytest.approx(before.interval, rel=1e-9, nan_ok=True)


# ------------------------------------------------------------------------- absent studies, further studies


def test_study_that_is_absent_on_some_workloads_has_missed_there():
    a = [np.array([100.0, math.nan, 101.0]), np.full(3, math.nan), cell(100, 0.02)]
    b = [cell(150, 0.01)] * 3
    missed = [np.where(np.isnan(row), INF, row) for row in a]
    found = decide(a, b)
    assert str(found) == str(decide(missed, b))  # as text, since NaN is not equal to itself
    assert (found.look, found.by_hits, found.hits) == (3, ("w1",), (0, 3))


@pytest.mark.parametrize("absent", [2, 3, 5])
def test_study_that_is_absent_everywhere_does_not_exist(absent):
    # Not a miss: five studies of A, one of them left out, are judged as the four that there are, and B's first four.
    rng = np.random.default_rng(0)
    a, b = (time * np.exp(0.03 * rng.normal(size=(2, 6))) for time in (100.0, 110.0))
    holed = a.copy()
    holed[:, absent] = math.nan
    found = decide(list(holed), list(b))
    assert str(found) == str(decide(list(np.delete(a, absent, axis=1)), list(b[:, :5])))
    assert (found.look, found.additions[-1:]) == (5, ())


def test_entrant_of_one_study_leaves_the_other_pairs_alone():
    field = [[cell(100, 0.01)] * 2, [cell(120, 0.02)] * 2, [np.array([110.0, math.nan, math.nan])] * 2]
    limits, spacing = np.full(2, 1000.0), np.full((3, 2), 5.0)
    all_three = scoring.verdicts(("a", "b", "c"), ("v", "w"), np.array(field), limits, intervals=spacing)
    (alone,) = scoring.verdicts(("a", "b"), ("v", "w"), np.array(field[:2]), limits, intervals=spacing[:2])
    assert (alone.verdict, alone.look) == ("better", 3)
    assert str(all_three[0]) == str(alone)
    for of_c in all_three[1:]:
        assert (of_c.verdict, of_c.look, of_c.hits) == ("not separable", 0, (0, 0))


def test_spacing_of_evaluations_is_the_least_spread_of_a_time():
    # Sheppard: interval^2 / 12 for each of A and B, each with its own interval; p of a worked pair.
    from scipy import stats

    times, limits = np.array([[cell(100)], [cell(110)]]), np.array([1000.0])
    (found,) = scoring.verdicts(("a", "b"), ("w",), times, limits, intervals=np.array([[5.0], [22.0]]))
    va, vb = 0.05**2 / 36, 0.2**2 / 36
    df = (va + vb) ** 2 / ((va**2 + vb**2) / 2)
    assert found.p == pytest.approx(2 * stats.t.sf(math.log(1.1) / math.sqrt(va + vb), df))
    (again,) = scoring.verdicts(("a", "b"), ("w",), 4 * times, 4 * limits, intervals=np.array([[20.0], [88.0]]))
    assert again.p == pytest.approx(found.p, rel=1e-12)


def power(spread, look, size, alpha):
    """Of the two-sided t test of two groups of `look` studies, exactly."""
    from scipy import stats

    df, shift = 2 * (look - 1), size / (spread * math.sqrt(2 / look))
    return stats.nct.sf(stats.t.ppf(1 - alpha / 2, df), df, shift)


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.05, 0.08])
def test_further_studies_reach_four_fifths_power_and_no_earlier_look_does(spread):
    # The range is over the spread that the data allow: its chi-square interval at 80 %, whose ends are tried here.
    from scipy import stats

    n, size = 5, math.log(1.1)
    df = 2.0 * (n - 1)
    found = verdict.further_studies(spread * math.sqrt(2 / n), df, n, n, size, 0.016, paired=False)
    for end, quantile in zip(found, (0.9, 0.1), strict=True):
        true = spread * math.sqrt(df / stats.chi2.ppf(quantile, df))
        reached = [look for look in verdict.LOOKS if power(true, look, size, 0.016) > 0.79]
        assert end == (max(0, reached[0] - n) if reached else None)


def test_further_studies_of_paired_entrants_count_one_degree_per_study():
    # Few studies decide: at look 3 the test has 2 degrees of freedom, not 4.
    spread = 0.03
    independent, paired = (
        verdict.further_studies(spread * math.sqrt(1 / 3), df, 3, 3, math.log(1.1), 0.016, paired=paired)
        for df, paired in ((4.0, False), (2.0, True))
    )
    assert independent[0] == 0
    assert paired[0] == 2


def test_hit_rejected_needs_p_at_most_its_level():
    # Equality rejects (p <= level), as in Holm 1979; `<` would not.
    assert verdict.holm(np.array([0.016]))[1].tolist() == [True]
    assert verdict.holm(np.array([0.016 + 1e-12]))[1].tolist() == [False]


BOARD = st.tuples(st.integers(0, 2**20), st.integers(2, 4), st.integers(1, 4))


@settings(max_examples=40, deadline=None)
@given(BOARD, st.randoms(use_true_random=False))
def test_order_of_entrants_changes_no_verdict(drawn, random):
    seed, entrants, workloads = drawn
    rng = np.random.default_rng(seed)
    times = 100 * np.exp(0.1 * np.arange(entrants)[:, None, None] + 0.03 * rng.normal(size=(entrants, workloads, 5)))
    times[rng.random(times.shape) < 0.1] = INF
    order = list(range(entrants))
    random.shuffle(order)
    names = tuple("abcd"[:entrants])
    columns, limits = tuple(map(str, range(workloads))), np.full(workloads, 1000.0)
    found = {(v.a, v.b): v for v in scoring.verdicts(names, columns, times, limits)}
    again = scoring.verdicts(tuple(names[i] for i in order), columns, times[order], limits)
    for v in again:
        same = found.get((v.a, v.b))
        assert v.verdict == (same.verdict if same else SWAP[found[v.b, v.a].verdict])
