"""`describe`: everything known of one entry."""

import argparse
import dataclasses
import math
from typing import Any

from algoperf_lite import errors

HELP = "show everything known of one workload, submission, benchmark or data set"
EXAMPLES = ("describe markov_lm", "describe nadamw", "describe ./my_opt.py")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("name", help="a shipped name, or the path of a file")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def main(args: argparse.Namespace) -> int:
    """Prints the facts, one a line."""
    facts = _facts(args.name)
    if args.json:
        import json

        print(json.dumps(facts, indent=1, default=str))
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        lines = _lines(value)
        print(f"{name:<{width}}  {lines[0]}")
        for line in lines[1:]:
            print(" " * (width + 2) + line)
    return 0


def _lines(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{k} = {v}" for k, v in value.items()] or ["none"]
    if isinstance(value, (list, tuple)):
        return [str(v) for v in value] or ["none"]
    return str(value).splitlines() or [""]


def _facts(name: str) -> dict[str, Any]:
    from algoperf_lite import registry
    from algoperf_lite.data import catalog

    if registry.is_workload(name):
        return _workload(name)
    if name in registry.names("benchmarks") or name.endswith(".toml"):
        import msgspec

        from algoperf_lite import config

        load = config.load_logs if config.is_logs(name) else config.load_benchmark
        return msgspec.to_builtins(load(name))
    if name in catalog.CATALOG:
        return dataclasses.asdict(catalog.CATALOG[name])
    file = registry.split_values(name)[0]
    if file in registry.names("submissions") or file.endswith(".py") or registry.split_space(file)[1]:
        return registry.load_submission(name).about()
    known = [n for kind in registry.KINDS for n in registry.names(kind)]
    raise errors.unknown("entry", name, [*known, *catalog.CATALOG])


def _target(w) -> str:
    if math.isnan(w.validation_target):
        return "none yet"
    return f"{w.validation_target:.6g}" + (" (provisional)" if w.provisional else "")


def _workload(name: str) -> dict[str, Any]:
    import jax

    from algoperf_lite import registry

    w = registry.load_workload(name)
    shapes = jax.tree.leaves_with_path(w.shapes())
    count = sum(leaf.size for _, leaf in shapes)
    roles = jax.tree.leaves(w.roles)
    names = [jax.tree_util.keystr(path) for path, _ in shapes]
    width = max(map(len, names))
    parameters = [
        f"{name:<{width}} {'x'.join(map(str, leaf.shape)) or 'scalar':<12} {role.kind:<14} "
        f"fan {role.fan_in} -> {role.fan_out}"
        for name, (_, leaf), role in zip(names, shapes, roles, strict=True)
    ]
    return {
        "workload": f"{w.name} v{w.version} ({w.tier}; {w.family})",
        **(
            {"held-out variant of": w.held_out_of, "with": registry.variants(name)[name]}
            if w.held_out_of
            else {"held-out variants": list(registry.variants(name))}
        ),
        "from": w.provenance,
        "metric": f"{w.metric}, {w.direction}",
        "validation target": _target(w),
        "test target": "none yet" if math.isnan(w.test_target) else f"{w.test_target:.6g}",
        "step budget": f"{w.step_budget} steps of {w.batch_size} examples, {w.evaluations} evaluations",
        "training examples": w.num_train_examples,
        "reference": dict(w.reference) or "nadamw's DEFAULTS",
        "reference's time": f"{w.reference_steps:g} steps to the target (median)" if w.reference_steps else "unknown",
        "data": list(w.data) or "embedded or generated",
        "parameters": [f"{count} in {len(shapes)} arrays", *parameters],
    }
