"""Which trials a benchmark consists of: rulesets, search points and seeds (PROTOCOL P11). Nothing here imports JAX."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from algoperf_lite import __version__, errors, records

EXTERNAL_POINTS = 5
SELF_TUNING_FACTOR = 1.5
AUTHOR_SEEDS = 1000


def hash_int(*parts: Any) -> int:
    """A whole number in [0, 2^31) from any JSON values; the one way in which seeds are made."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def board_seed(submission_hashes: Sequence[str], benchmark_version: int, nonce: str) -> int:
    """Seed of a publication board: drawn after the submissions are frozen, 1000 or more (author seeds are 0-999)."""
    return AUTHOR_SEEDS + hash_int("board", sorted(submission_hashes), benchmark_version, nonce) % (2**31 - AUTHOR_SEEDS)


def trial_seed(board_seed: int, workload: str, study: int, trial: int) -> int:
    """Seed of initial parameters, data order and dropout: the same for all entrants."""
    return hash_int("trial", board_seed, workload, study, trial)


def held_outs(candidates: Mapping[str, Sequence[str]], board_seed: int) -> list[str]:
    """One held-out variant of each family; `candidates`: family -> its variants."""
    return [
        sorted(names)[hash_int("held-out", board_seed, family) % len(names)] for family, names in sorted(candidates.items())
    ]


def quasi_random(space: Mapping[str, Any], n: int, seed: int) -> list[dict[str, Any]]:
    """n scrambled-Halton points of a space; dimensions in sorted name order (P11)."""
    from scipy.stats import qmc

    names = sorted(space)
    quantiles = qmc.Halton(d=len(names), scramble=True, rng=seed).random(n)
    return [{name: space[name].at(float(u)) for name, u in zip(names, row, strict=True)} for row in quantiles]


def points(submission: Any, ruleset: str, board_seed: int, studies: int) -> list[list[dict[str, Any]]]:
    """Complete hyperparameters by study and trial.

    Args:
      submission: a `submission.Submission`, which is built on this module.

    Raises:
      UserError: self-tuning without DEFAULTS, external with fewer than five fixed points.
    """
    if ruleset == "self":
        if submission.DEFAULTS is None:
            raise errors.UserError(
                f"submission {submission.name} ({submission.source}) has no DEFAULTS; the self-tuning ruleset runs them"
            )
        return [[submission.resolve({})] for _ in range(studies)]
    if submission.SPACE is None:
        if submission.DEFAULTS is None:
            raise errors.UserError(f"submission {submission.name} ({submission.source}) has neither SPACE nor DEFAULTS")
        return [[submission.resolve({})] for _ in range(studies)]
    if isinstance(submission.SPACE, list):
        if len(submission.SPACE) < EXTERNAL_POINTS:
            raise errors.UserError(
                f"submission {submission.name}: SPACE lists {len(submission.SPACE)} points; "
                f"the external ruleset runs {EXTERNAL_POINTS}"
            )
        fixed = [submission.resolve(p) for p in submission.SPACE[:EXTERNAL_POINTS]]
        return [fixed for _ in range(studies)]
    drawn = [
        quasi_random(submission.SPACE, EXTERNAL_POINTS, hash_int("points", board_seed, study)) for study in range(studies)
    ]
    return [[submission.resolve(p) for p in study] for study in drawn]


def static_key(entrant: records.Entrant, hparams: Mapping[str, Any]) -> str:
    """The static part of a point as JSON: with entrant and workload, the key of a compilation and of its cost."""
    return json.dumps({k: hparams[k] for k in entrant.static if k in hparams}, sort_keys=True)


def trials(benchmark: records.Benchmark, workloads: Sequence[str] | None = None) -> list[records.TrialSpec]:
    """All trials of a resolved benchmark: study by study, and within one trial number all entrants side by side, so
    that a machine that slows down slows all of them."""
    specs = []
    for study in range(benchmark.studies):
        for workload in workloads or benchmark.workloads:
            for trial in range(benchmark.points):
                for entrant in benchmark.entrants:
                    if trial < len(entrant.points[study]):
                        specs.append(_spec(benchmark, workload, entrant, study, trial))
    return specs


def _spec(
    benchmark: records.Benchmark, workload: str, entrant: records.Entrant, study: int, trial: int
) -> records.TrialSpec:
    hparams = entrant.points[study][trial]
    cost = benchmark.costs[entrant.name][workload][static_key(entrant, hparams)]
    return records.TrialSpec(
        benchmark=benchmark.name,
        benchmark_version=benchmark.version,
        ruleset=benchmark.ruleset,
        workload=workload,
        workload_version=benchmark.workloads[workload].version,
        entrant=entrant.name,
        submission_sha256=entrant.sha256,
        package_version=__version__,
        hparams=hparams,
        seed=trial_seed(benchmark.seed, workload, study, trial),
        study=study,
        trial=trial,
        mesh=benchmark.mesh,
        driver=entrant.driver,
        step_cap=cost.step_cap,
    )


def step_cap(step_budget: int, interval: int, factor: float, cost: float) -> int:
    """P4: budget x ruleset factor / cost factor, rounded down to a multiple of the evaluation interval."""
    return max(int(step_budget * factor / cost + 1e-9) // interval, 1) * interval
