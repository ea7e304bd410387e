"""Why did three methods reach no target on the kept board? Each again with one thing changed.

Run: python -m benchmarks.surprises [--docs docs/board_micro.md]

On the board of docs/board_micro.md `lion`, `prodigy` and `mechanic` hit nothing at their DEFAULTS. Here each runs over the
step budget of a workload, with its DEFAULTS and with something changed, one seed: does it learn at all, and what keeps it
from the target? Beside the best validation metric stands the scale that a learning-rate-free method had found by a tenth of
the budget and at its end. Minutes on two cores; finished rows in `benchmarks/results/surprises.json` are kept.
"""

import argparse
import json
import pathlib

import jax.numpy as jnp
import optax

from algoperf_lite import engine, environment, mesh, records, registry
from benchmarks import page

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "surprises.json"
DOCS = "surprises table"
WORKLOADS = ("markov_lm", "digits_vit", "grammar_mt")
CHANGES = {
    "lion": [
        {},
        {"learning_rate": 5e-4},
        {"learning_rate": 4e-3},
        {"learning_rate": 8e-3},
        {"weight_decay": 0.5},
        {"b1": 0.95, "b2": 0.98},
        {"b1": 0.7},
        {"b2": 0.95},
        {"b1": 0.7, "b2": 0.95},
    ],
    "prodigy": [{}, {"estim_lr0": 1e-4}, {"estim_lr_coef": 4.0}, {"use_bias_correction": True}, {"warmup_fraction": 0.25}],
    "mechanic": [{}, {"s_init": 1e-4}, {"s_init": 1e-2}, {"s_decay": 0.0}, {"b2": 0.95}],
}
SCALES = {"prodigy": "estim_lr", "mechanic": "s"}  # names in the state: the estimate, and one for each beta, to be summed


def run(bench: engine.Bench, method: str, change: dict) -> dict:
    """Best validation metric over the step budget, and the scale found early and late."""
    workload, entry = bench.workload, registry.load_submission(method)
    point = entry.resolve(change)
    programs = engine.compile_programs(bench, entry, point)
    hyper, key = programs.hyper(point), programs.key(0)
    carry, curve, scales = programs.fresh(key, hyper), [], []
    for index in range(workload.evaluations):
        number = programs.step_number(index * workload.interval)
        carry, _ = programs.chunk(carry, hyper, bench.data, key, number)
        curve.append(bench.metrics(*engine.evaluation_state(programs, carry, key, number), "validation")[workload.metric])
        if method in SCALES:
            scales.append(float(jnp.sum(optax.tree.get(carry.opt_state, SCALES[method]))))
    values = [v for v in curve if v is not None]
    best = (max if workload.direction == "max" else min)(values) if values else None
    tenth = workload.evaluations // 10
    return {
        "workload": workload.name,
        "metric": workload.metric,
        "target": workload.validation_target,
        "method": method,
        "change": change,
        "best": best,
        "reached": best is not None and bool(workload.reaches(best, workload.validation_target)),
        "scale_at_a_tenth": scales[tenth - 1] if scales else None,
        "scale_at_the_end": scales[-1] if scales else None,
        "curve": curve,
    }


def table(rows: list[dict]) -> str:
    """Markdown: a row for each method and change, a column for each workload."""
    heads = {r["workload"]: f"{r['workload']}, {r['metric']} (target {r['target']:.4g})" for r in rows}
    lines = ["| method | changed | " + " | ".join(heads.values()) + " |", "| --- " * (2 + len(heads)) + "|"]
    for method, changes in CHANGES.items():
        for change in changes:
            cells = []
            for name in heads:
                r = next(r for r in rows if (r["workload"], r["method"], r["change"]) == (name, method, change))
                cell = "diverged" if r["best"] is None else f"{r['best']:.4g}" + (" **hit**" if r["reached"] else "")
                if r["scale_at_the_end"] is not None:
                    cell += f"; scale {r['scale_at_a_tenth']:.1e}, {r['scale_at_the_end']:.1e}"
                cells.append(cell)
            what = ", ".join(f"`{k}` {v}" for k, v in change.items()) or "nothing"
            lines.append(f"| `{method}` | {what} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=pathlib.Path, help="page whose table is written anew")
    args = parser.parse_args()
    environment.setup()
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []
    done = [(r["workload"], r["method"], r["change"]) for r in rows]
    for name in WORKLOADS:
        wanted = [(m, c) for m, changes in CHANGES.items() for c in changes if (name, m, c) not in done]
        bench = engine.compile_bench(registry.load_workload(name), mesh.make({"data": 1, "fsdp": 1})) if wanted else None
        for method, change in wanted:
            rows.append(run(bench, method, change))
            print(*(rows[-1][k] for k in ("workload", "method", "change", "best", "reached")), flush=True)
            content = {"date": records.utc(), "manifest": environment.manifest(), "rows": rows}
            RESULTS.write_text(json.dumps(content, indent=1) + "\n")
    print(table(rows))
    if args.docs:
        page.put(args.docs, DOCS, table(rows))


if __name__ == "__main__":
    main()
