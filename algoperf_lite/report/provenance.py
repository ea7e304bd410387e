"""Where a run's numbers come from: the command that repeats it, versions and machines, files and costs."""

import hashlib
import shlex
from typing import Any

from algoperf_lite import records
from algoperf_lite.results import Results


def rerun_command(results: Results) -> str | None:
    """The command that repeats this board on the same seed, and that goes on with an unfinished one; None for logs."""
    benchmark = results.benchmark
    if benchmark is None:
        return None
    entrants = ",".join(e.source if e.source == e.name else f"{e.name}={e.source}" for e in benchmark.entrants)
    parts = ["algoperf-lite", "run", benchmark.source or benchmark.name]
    parts += ["--workloads", ",".join(info.source for info in benchmark.workloads.values())]
    drawn = ["--nonce", benchmark.nonce] if benchmark.nonce is not None else ["--seed", str(benchmark.seed)]
    parts += ["--submissions", entrants, *drawn, "--studies", str(benchmark.studies)]
    if any(size > 1 for size in benchmark.mesh.values()):
        parts += ["--mesh", ",".join(f"{axis}={size}" for axis, size in benchmark.mesh.items())]
    parts += ["--smoke"] if benchmark.smoke else []
    path = results.path
    return shlex.join([*parts, "--out", path.name if path.is_absolute() else str(path)])  # no home path in a report


def facts(results: Results) -> list[tuple[str, str]]:
    """What a rerun must agree in: benchmark.json's hash, seed, versions, machines."""
    benchmark = results.benchmark
    if benchmark is None:
        return []
    file = results.path / "benchmark.json"
    found = [("benchmark.json sha256", hashlib.sha256(file.read_bytes()).hexdigest())] if file.is_file() else []
    found += [
        ("ruleset", "external tuning" if benchmark.ruleset == "external" else "self-tuning"),
        ("board seed", str(benchmark.seed)),
        ("driver", benchmark.driver),
        ("mesh", ", ".join(f"{axis}={size}" for axis, size in benchmark.mesh.items()) or "one device"),
        ("hosts", ", ".join(results.hosts) or "none yet"),
    ]
    found += [(key, _flat(value)) for key, value in sorted(benchmark.manifest.items())]
    for extension in benchmark.extensions:
        what = ", ".join(extension.entrants) or f"{extension.studies} studies"
        found.append((f"extended {extension.date}", f"{what}; benchmark.json before: {extension.sha256_before[:16]}"))
    return found


def costs(benchmark: records.Benchmark | None) -> list[dict[str, Any]]:
    """Cost factors by entrant: the range over workloads and static hyperparameters, and the charge of `build`."""
    rows = []
    if benchmark is None:
        return rows
    for entrant in benchmark.entrants:
        known = [c for by_static in benchmark.costs.get(entrant.name, {}).values() for c in by_static.values()]
        factors = [cost.factor for cost in known]
        rows.append(
            {
                "entrant": entrant,
                "factor": (min(factors), max(factors)) if factors else None,
                "build_s": max((cost.build_s for cost in known), default=None),
            }
        )
    return rows


def standard_errors(results: Results) -> dict[str, float]:
    """By workload, of one evaluation on the validation split: that which came nearest to the target (P10)."""
    nearest: dict[str, tuple[float, float]] = {}
    metrics = {workload.name: workload for workload in results.board.workloads}
    for key, run in results.runs.items():
        workload = metrics[key[1]]
        for event in run.events:
            value, error = (event.validation.get(f"{workload.metric}{end}") for end in ("", "_se"))
            if value is not None and error is not None:
                found = (abs(value - workload.target), error)
                nearest[key[1]] = min(found, nearest.get(key[1], found))
    return {name: error for name, (_, error) in nearest.items()}


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(v)}" for key, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
