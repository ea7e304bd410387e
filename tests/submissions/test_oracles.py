"""Shipped submissions against stored trajectories of their authors' packages, in closed loop and in double precision."""

import pytest

from algoperf_lite import registry
from tests.submissions.driver import deviation, drive
from tests.submissions.oracles.cases import STEPS, STORED
from tests.submissions.oracles.make import FOLDER, cases, stored
from tests.submissions.problem import noisy_quadratic

CASES = cases()


@pytest.mark.parametrize("name", sorted(CASES))
def test_submission_follows_its_oracle(name):
    case, theirs = CASES[name], stored(name)
    problem = noisy_quadratic(case.shapes, STEPS, still=case.still)
    ours = drive(case.submission, case.hparams, problem, STEPS, step_budget=case.step_budget)
    found = deviation([ours[t] for t in STORED], [theirs[t] for t in STORED])
    assert found <= case.tolerance, f"deviates by {found:.2g}"
    moved = deviation([ours[t] for t in STORED], [ours[0]] * len(STORED))
    assert moved > 1e3 * case.tolerance  # it did train: following is not standing still


def test_every_record_has_its_case():
    assert {p.stem for p in (FOLDER / "data").glob("*.json")} == set(CASES)
    assert {case.submission for case in CASES.values()} <= set(registry.names("submissions"))
