"""Figures are pure functions from numbers to SVG: marks stand where the numbers say, whatever the numbers are."""

import math
import re

import numpy as np
import pytest

from algoperf_lite.report import figure_data, figures, svg


def circles(markup, css):
    """x of the circles of a class, in order."""
    return [float(x) for x in re.findall(rf'<circle cx="([\d.]+)" cy="[\d.]+" r="[\d.]+" class="{css}"', markup)]


def test_ticks_are_round_and_inside():
    assert svg.ticks(0, 1, 4) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    for low, high in ((0.13, 0.94), (0, 51234), (-3, 2), (1e-5, 3e-5)):
        found = svg.ticks(low, high)
        assert 3 <= len(found) <= 11
        assert low - 1e-9 <= found[0]
        assert found[-1] <= high * (1 + 1e-9)


@pytest.mark.parametrize("ends", [(0.9, 1.6), (230, 260), (1, 4), (20, 45_000), (1e-6, 1e6), (3, 3.01), (0.04, 120)])
def test_log_ticks_are_round_few_and_inside(ends):
    found = svg.log_ticks(*ends)
    assert 2 <= len(found) <= 6
    assert found == sorted(set(found))
    assert ends[0] <= found[0] < found[-1] <= ends[1] * (1 + 1e-9)
    assert all(len(svg.tick(value)) <= 7 for value in found)


def test_curves_of_a_constant_or_absent_metric_draw():
    assert "<polyline" in figures.curves("t", [(0, ([1, 2], [0.9, 0.9]))], [], 0.9, True)
    assert "<polyline" not in figures.curves("t", [(0, ([1, 2], [None, float("nan")]))], [], 0.9, False)


def test_many_thin_lines_are_thinned_and_keep_their_ends():
    line = (list(range(1000)), [k / 1000 for k in range(1000)])
    few, many = (figures.curves("t", [(0, line)] * n, [], 0.9, True) for n in (1, 40))
    assert few.count(",") == 1000
    assert 0.8 * figures.FAINT_POINTS < many.count(",") < 1.1 * figures.FAINT_POINTS
    assert figures.thin(line, 300) == ([0, 300, 600, 900, 999], [0, 0.3, 0.6, 0.9, 0.999])
    assert figures.thin(line, 1) is line


def test_profile_steps_where_a_workload_is_solved_and_keeps_corners_only():
    taus = np.linspace(1, 4, 100)
    rho = np.array([np.where(taus < 2, 0.5, 1.0)])
    band = np.stack([rho - 0.25, rho], axis=-1)
    markup = figures.profile(["a"], taus, rho, band)
    points = re.search(r'<polyline points="([^"]+)" class="bold', markup).group(1).split()
    assert len(points) == 5  # start, two at the step, two at the end
    assert markup.count("<polygon") == 1
    assert figures.profile(["a"], taus, rho).count("<polygon") == 0


def test_dots_stand_where_the_times_are_and_misses_at_the_right():
    medians, intervals = np.array([10.0, 20.0, np.inf]), np.array([[9, 11], [18, 22], [np.nan, np.nan]])
    times = np.array([[9.5, 10, 11], [18, 20, np.inf], [np.inf, 30, np.inf]])
    markup = figures.dots("w", ["a", "b", "c"], medians, intervals, times, (0.8, 4))
    a, b = circles(markup, "dot")
    assert a < b
    assert markup.count('class="range"') == 2
    rings = circles(markup, "ring")
    assert len(rings) == 2  # b's missed study, c's missed median
    assert all(x > b for x in rings)
    small = circles(markup, "small")
    assert small[0] < a < small[2]
    assert len(small) == 3 + 2 + 1


def test_dots_where_nobody_hits_draw():
    missed = np.full((2, 1), np.inf)
    markup = figures.dots("w", ["a", "b"], missed[:, 0], np.full((2, 2), np.nan), missed, figures.span())
    assert "nobody" in markup


def test_a_study_that_is_absent_is_no_miss():
    markup = figures.dots("w", ["a"], np.array([5.0]), np.full((1, 2), np.nan), np.array([[5.0, np.nan]]), (0.9, 1.5))
    assert circles(markup, "ring") == []
    gone = figures.dots(
        "w", ["a", "b"], np.array([5.0, np.inf]), np.full((2, 2), np.nan), np.array([[5.0], [np.nan]]), (1, 2)
    )
    assert circles(gone, "ring") == []
    assert "no trial" in gone


def test_tuning_shows_every_trial_and_marks_those_that_count():
    row = [
        figures.Point(j, k, math.inf if k == 2 else 10.0 * (j + k + 1), k == 0, f"{j} {k}")
        for j in range(2)
        for k in range(3)
    ]
    markup = figures.tuning("w", ["a", "b"], [row, []], "seconds")
    assert len(circles(markup, "dot")) == 2
    assert len(circles(markup, "small")) == 2
    assert len(circles(markup, "ring")) == 2
    assert min(circles(markup, "ring")) > max(circles(markup, "dot") + circles(markup, "small"))
    assert "seconds to target" in markup


def test_axis_shows_intervals_that_are_near_and_no_more():
    near = figure_data.Dots(np.array([10.0]), np.array([[8.0, 13.0]]), np.array([[9.0, 11.0]]))
    assert near.relative.max() == pytest.approx(1.3)
    far = figure_data.Dots(np.array([10.0]), np.array([[0.1, 900.0]]), np.array([[9.0, 11.0]]))
    assert far.relative.max() == pytest.approx(1.1)


def test_twenty_four_entrants_have_different_marks():
    assert len({svg.css(i) for i in range(24)}) == 24
    assert len({svg.key(i) for i in range(24)}) == 24


def test_text_in_figures_is_escaped_and_long_names_are_cut():
    name = "<b>a very long name of an entrant</b>"
    markup = figures.tuning(name, [name], [[figures.Point(0, 0, 1.0, True, name)]], "s")
    assert "<b>" not in markup
    assert f"&lt;b&gt;a very lo{chr(0x2026)}entrant&lt;/b&gt;<title>" in markup
    fits = "a_name_of_23_characters"
    assert f">{fits}<title>" in figures.tuning("w", [fits], [[figures.Point(0, 0, 1.0, True, "")]], "s")


def test_strips_end_where_they_are_cut():
    assert 'x2="146.0"' in figures.pair_strip(9.0, [1.0, 50.0], 8.0)
    assert figures.pair_strip(None, None, 2.0) == ""
    assert 'cx="146.0"' in figures.score_strip(1.0, [0.9, 1.0])
