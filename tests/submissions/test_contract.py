"""The shipped submissions and the contract: each passes `validate`, SPACE holds DEFAULTS, names are checked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import contract, errors, registry, spec
from algoperf_lite.contract import submissions
from algoperf_lite.contract.toy import toy_params
from tests.submissions.oracles.make import cases
from tests.submissions.transcribed import transcribed

NAMES = registry.names("submissions")


@pytest.mark.parametrize("name", NAMES)
def test_shipped_submission_passes_the_contract(name):
    results = list(contract.validate_submission(name, quick=True))
    assert len(results) == len(submissions.CHECKS) + 1
    assert [r for r in results if not r.ok] == []


@pytest.mark.long
@pytest.mark.parametrize("name", ["nadamw", "shampoo", "sophia", "vrgd", "sam"])
def test_shipped_submission_passes_the_checks_on_the_micro_workloads(name):
    results = list(contract.validate_submission(name))
    assert len(results) == len(submissions.CHECKS) + 5
    assert [r for r in results if not r.ok] == []


def test_every_shipped_submission_is_compared_with_a_source():
    followed = {case.submission for case in cases().values()} | transcribed()
    assert followed == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_search_space_holds_the_defaults_and_keeps_reserved_names_out(name):
    entry = registry.load_submission(name)
    for dimension, choices in entry.SPACE.items():
        plain = dimension.removeprefix("one_minus_")
        assert plain not in spec.RESERVED
        value = entry.DEFAULTS[plain]
        if value or not choices.log:
            assert 0 <= choices.quantile(1 - value if plain != dimension else value) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_build_accepts_points_of_the_space_and_refuses_unknown_names(name):
    entry = registry.load_submission(name)
    problem = spec.Problem.from_params(toy_params(), step_budget=100, batch_size=8)
    entry.build(problem, {n: d.at(0.5) for n, d in entry.SPACE.items()}).init(toy_params())
    with pytest.raises(errors.UserError, match=r"unknown hyperparameter of submission .*; did you mean 'learning_rate'"):
        entry.build(problem, {"learnin_rate": 0.1})


def test_one_minus_b1_is_b1():
    entry = registry.load_submission("nadamw")
    assert entry.resolve({"one_minus_b1": 0.25})["b1"] == 0.75
    assert "one_minus_b1" not in entry.resolve({"one_minus_b1": 0.25})
    params, problem = {"w": jnp.ones(3)}, spec.Problem.from_params({"w": jnp.ones(3)}, step_budget=9, batch_size=2)
    states = []
    for point in ({"one_minus_b1": 0.25}, {"b1": 0.75}):
        tx = entry.build(problem, point)
        states.append(tx.update(params, tx.init(params), params)[1])
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_label_smoothing_stays_in_the_point_and_out_of_build():
    entry = registry.load_submission("nadamw")
    assert entry.resolve({"label_smoothing": 0.2})["label_smoothing"] == 0.2
    problem = spec.Problem.from_params({"w": jnp.ones(3)}, step_budget=9, batch_size=2)
    entry.build(problem, {"label_smoothing": 0.2, "dropout_rate": 0.1}).init({"w": jnp.ones(3)})
