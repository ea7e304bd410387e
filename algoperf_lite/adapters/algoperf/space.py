"""AlgoPerf's search spaces: the JSON file, and the points that its Halton sampler draws from it, bit for bit.

A file holds either a list of complete points, or a dict from names to `{"min", "max", "scaling": "linear" or "log"}` and
`{"feasible_points": [...]}`.
"""

import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from algoperf_lite import errors

FILE = "tuning_search_space.json"
LARGEST_BASE = 997  # of the primes below 1000 the largest is not used
SKIPPED = 101  # the sequence is read from this index on

Space = Sequence[Mapping[str, Any]] | Mapping[str, Mapping[str, Any]]


def read(path: pathlib.Path) -> Space:
    """The search space of a JSON file, in the file's order of names.

    Raises:
      UserError: no JSON, or of another form.
    """
    try:
        space = json.loads(path.read_text("utf-8"))
    except OSError as e:
        raise errors.UserError(f"search space {path} cannot be read: {e.strerror}") from e
    except ValueError as e:
        raise errors.UserError(f"search space {path} is not JSON: {e}") from e
    if isinstance(space, list):
        if not space or not all(isinstance(point, dict) and set(point) == set(space[0]) for point in space):
            raise errors.UserError(f"search space {path}: a list needs points (dicts) that all have the same names")
    elif isinstance(space, dict) and space:
        for name, dimension in space.items():
            _check(path, name, dimension)
    else:
        raise errors.UserError(f"search space {path}: accepted are a list of points and a dict of ranges")
    for name in names(space):
        if not name.isidentifier() or name.startswith("_"):
            raise errors.UserError(f"search space {path}: {name!r} cannot be the name of a hyperparameter")
    return space


def _check(path: pathlib.Path, name: str, dimension: Any) -> None:
    keys = dimension if isinstance(dimension, dict) else {}
    if "feasible_points" in keys:
        if isinstance(dimension["feasible_points"], list) and dimension["feasible_points"]:
            return
    elif {"min", "max", "scaling"} <= set(keys) and dimension["scaling"] in ("linear", "log"):
        low, high = dimension["min"], dimension["max"]
        numbers = all(isinstance(x, int | float) and math.isfinite(x) for x in (low, high))
        if numbers and low <= high and (dimension["scaling"] == "linear" or low > 0):
            return
    raise errors.UserError(
        f'search space {path}: {name!r} is {json.dumps(dimension)}; accepted: {{"min": a, "max": b, "scaling": "linear" or '
        '"log"}, a <= b, with 0 < a where it is log, and {"feasible_points": [a list of values]}'
    )


def names(space: Space | None) -> list[str]:
    """The hyperparameters of a space, in the order of its file."""
    if space is None:
        return []
    return list(space if isinstance(space, Mapping) else space[0])


def points(space: Space, n: int, seed: int | None = None) -> list[dict[str, Any]]:
    """The first n points: of a list in its order, as many as there are; of ranges by the Halton sequence.

    Every call draws the same points. AlgoPerf then shuffles them by NumPy's global generator, which nothing seeds; here
    `seed` seeds the shuffle, and None leaves it out.
    """
    if not isinstance(space, Mapping):
        return [dict(point) for point in space[:n]]
    found = [
        {name: _at(space[name], u) for name, u in zip(space, row, strict=True)} for row in halton(n, len(space)).tolist()
    ]
    if seed is not None:
        order = np.arange(n)
        np.random.RandomState(seed).shuffle(order)
        found = [found[i] for i in order]
    return found


def _at(dimension: Mapping[str, Any], u: float) -> Any:
    """The value of one dimension at u in [0, 1)."""
    if "feasible_points" in dimension:
        values = dimension["feasible_points"]
        return values[math.floor(u * len(values))]
    low, high = dimension["min"], dimension["max"]
    if dimension["scaling"] == "log":
        return low * math.exp(u * math.log(high / low))
    return u * (high - low) + low


def halton(n: int, dimensions: int) -> np.ndarray:
    """[n, dimensions] points in [0, 1) of AlgoPerf's scrambled and shifted Halton sequence; no seed enters.

    Dimension d of D has the base that is the (D - d)-th largest prime below 997. Its digits, the least significant first,
    are exchanged by a permutation of 1..base-1 that leaves 0, and a shift is added modulo 1; both come from
    `RandomState(base)`.
    """
    bases = [p for p in range(3, LARGEST_BASE) if all(p % q for q in range(2, math.isqrt(p) + 1))]
    if dimensions > len(bases):
        raise ValueError(f"{dimensions} dimensions: there are bases for {len(bases)}")
    columns = [_column(n, base) for base in bases[len(bases) - dimensions :]]
    return np.array(columns, np.float64).T.reshape(n, dimensions)


def _column(n: int, base: int) -> list[float]:
    random = np.random.RandomState(base)
    digits = list(range(1, base))
    random.shuffle(digits)
    digits.insert(0, 0)
    shift = float(random.random_sample())
    found = []
    for index in range(SKIPPED, SKIPPED + n):
        value, denominator = 0.0, 1.0
        while index:
            index, digit = divmod(index, base)
            denominator *= base
            value += digits[digit] / denominator
        found.append(math.fmod(value + shift, 1.0))
    return found
