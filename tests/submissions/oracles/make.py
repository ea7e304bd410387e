"""Makes the stored trajectories anew. Needs PyTorch and the packages that the cases name, and no JAX.

Run: python -m tests.submissions.oracles.make [CASE ...]

    pip install torch schedulefree prodigyopt dadaptation dog-optimizer momo-opt pytorch-optimizer parameterfree numpy

The default tests compare with what lies in `data/`, so they need none of these.
"""

import importlib
import json
import pathlib
import sys

import numpy as np

from tests.submissions.oracles.cases import STEPS, STORED, Case
from tests.submissions.problem import Params, noisy_quadratic

FOLDER = pathlib.Path(__file__).parent
FAMILIES = tuple(sorted(p.stem for p in FOLDER.glob("*_oracles.py")))


def cases() -> dict[str, Case]:
    """All cases by name."""
    found: dict[str, Case] = {}
    for family in FAMILIES:
        own = importlib.import_module(f"tests.submissions.oracles.{family}").CASES
        assert not found.keys() & own.keys(), f"{family} names a case that another family has"
        found |= own
    return found


def stored(name: str) -> dict[int, tuple[Params, Params]]:
    """What lies in `data/`: step -> (parameters, evaluation parameters)."""
    record, case = json.loads((FOLDER / "data" / f"{name}.json").read_text()), cases()[name]
    assert (record["package"], record["submission"]) == (case.package, case.submission), f"{name}: make it anew"

    def arrays(tree: dict[str, list[float]]) -> Params:
        return {k: np.reshape(x, case.shapes[k]) for k, x in tree.items()}

    return {int(t): (arrays(pair[0]), arrays(pair[1])) for t, pair in record["steps"].items()}


def main(names: list[str]) -> None:
    """Writes `data/CASE.json`."""
    known = cases()
    for name in names or known:
        case = known[name]
        problem = noisy_quadratic(case.shapes, STEPS, still=case.still)
        seen = case.run(problem, STEPS)
        kept = {str(t): [{k: x.ravel().tolist() for k, x in tree.items()} for tree in seen[t]] for t in STORED}
        record = {"package": case.package, "submission": case.submission, "steps": kept}
        (FOLDER / "data" / f"{name}.json").write_text(json.dumps(record) + "\n")
        print(name, case.package)


if __name__ == "__main__":
    main(sys.argv[1:])
