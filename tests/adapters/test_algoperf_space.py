"""AlgoPerf's search spaces: its Halton points to the bit, both forms of the file, and what is refused."""

import json
import math

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.adapters.algoperf import space

RANGES = {
    "learning_rate": {"min": 1e-4, "max": 1e-1, "scaling": "log"},
    "beta": {"min": 0.5, "max": 0.9, "scaling": "linear"},
    "clip": {"feasible_points": [None, 1, "auto"]},
}


def written(path, content):
    file = path / space.FILE
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_halton_points_are_those_of_algoperf():
    golden = [(0.273974437265, 0.286124277284), (0.991166705831, 0.830019332783), (0.230230795353, 0.36079632572)]
    np.testing.assert_allclose(space.halton(3, 2), golden, rtol=0, atol=5e-13)


def test_halton_points_go_on_and_fill_the_square_and_a_dimension_more_comes_in_front():
    points = space.halton(400, 3)
    assert np.array_equal(points[:5], space.halton(5, 3))
    assert np.array_equal(points[:, 1:], space.halton(400, 2))
    assert 0 <= points.min() < points.max() < 1
    assert np.allclose(points.mean(0), 0.5, atol=0.02)


def test_ranges_are_drawn_by_scaling_and_kind_in_the_order_of_the_file():
    found, u = space.points(RANGES, 4), space.halton(4, 3)
    assert [list(p) for p in found] == [list(RANGES)] * 4
    for point, row in zip(found, u.tolist(), strict=True):
        assert point["learning_rate"] == 1e-4 * math.exp(row[0] * math.log(1e-1 / 1e-4))
        assert point["beta"] == row[1] * (0.9 - 0.5) + 0.5
        assert point["clip"] == [None, 1, "auto"][math.floor(row[2] * 3)]


def test_fixed_values_take_a_dimension_too():
    """A name in front that is fixed leaves the others alone; one behind moves them to other bases."""
    one = {"min": 0.0, "max": 1.0, "scaling": "linear"}
    fixed = {"feasible_points": [7]}
    alone = [p["x"] for p in space.points({"x": one}, 3)]
    assert [p["x"] for p in space.points({"fixed": fixed, "x": one}, 3)] == alone
    assert [p["x"] for p in space.points({"x": one, "fixed": fixed}, 3)] != alone


def test_seed_gives_the_order_that_a_seeded_numpy_would_and_the_same_points():
    plain = space.points(RANGES, 5)
    for seed in (0, 11):
        np.random.seed(seed)
        expected = list(plain)
        np.random.shuffle(expected)
        assert space.points(RANGES, 5, seed) == expected != plain


def test_list_gives_its_first_points_in_order_and_no_more_than_it_has(tmp_path):
    points = [{"a": 1, "b": True}, {"a": 2.5, "b": None}, {"b": "x", "a": 3}]
    read = space.read(written(tmp_path, points))
    assert space.points(read, 2, seed=3) == points[:2]
    assert space.points(read, 5) == points
    assert space.names(read) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "is not JSON"),
        ([], "same names"),
        ([{"a": 1}, {"b": 1}], "same names"),
        ({}, "accepted are a list of points and a dict of ranges"),
        (3, "accepted are a list of points and a dict of ranges"),
        ({"a": {"feasible_points": 3}}, "a list of values"),
        ({"a": {"feasible_points": []}}, "a list of values"),
        ({"a": {"min": 1, "max": 2}}, "'a' is"),
        ({"a": {"min": 1, "max": 2, "scaling": "square"}}, "'a' is"),
        ({"a": {"min": 0, "max": 2, "scaling": "log"}}, "0 < a"),
        ({"a": {"min": 3, "max": 2, "scaling": "linear"}}, "'a' is"),
        ({"a b": {"feasible_points": [1]}}, "cannot be the name"),
        ([{"_a": 1}], "cannot be the name"),
    ],
    ids=str,
)
def test_file_of_another_form_is_refused_with_its_path(content, said, tmp_path):
    file = written(tmp_path, content)
    with pytest.raises(errors.UserError, match=said) as refused:
        space.read(file)
    assert str(file) in str(refused.value)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.UserError, match=r"gone\.json cannot be read"):
        space.read(tmp_path / "gone.json")
