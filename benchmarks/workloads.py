"""The table of all workloads: targets, the reference's time to them, parameters and FLOPs.

Run: python -m benchmarks.workloads [--workloads A,B] [--out benchmarks/results/workloads.json] [--docs docs/workloads.md]

Steps to the target, their coefficient of variation over the seeds that reach it, and the share that does come from the
records of the target procedure in `workloads/targets/`. Step and evaluation are timed here: medians over chunks of one
evaluation interval of the reference, blocked on; the time to the target is the median number of steps times the step's.
Workloads whose data set is not at hand are left out, with a note. Rows of earlier runs are kept where this one does not
measure them anew. `--docs` rewrites the tables between the page's markers.
"""

import argparse
import json
import pathlib
import time

import jax
import numpy as np

from algoperf_lite import cli, engine, environment, errors, flops, mesh, records, registry
from algoperf_lite.clock import Clock
from benchmarks import page

ROOT = pathlib.Path(__file__).resolve().parent.parent
CHUNKS = 7


def facts(name: str, clock: Clock) -> dict:
    """Everything in a row of the table."""
    workload = registry.load_workload(name)
    path = registry.target_records(name) / f"{workload.name}.json"
    record = json.loads(path.read_text()) if path.is_file() else {}
    shares = record.get("reference_hit_share_of_budget", [])
    steps = np.array([s * workload.step_budget for s in shares if s is not None])
    bench = engine.compile_bench(workload, mesh.make({"data": 1, "fsdp": 1}))
    load = environment.manifest()["load_average"]  # this process included
    reference = registry.load_submission("nadamw")
    point = reference.resolve(dict(workload.reference))
    programs = engine.compile_programs(bench, reference, point)
    repeated = engine.Repeated(programs, point, clock.charge)
    step_s = float(np.median([repeated.seconds() for _ in range(CHUNKS)])) / workload.interval
    params, model_state = bench.init(programs.key(0))
    evaluations = []
    for _ in range(3):
        began = time.perf_counter()
        for split in ("validation", "eval_train"):
            bench.metrics(params, model_state, split)
        evaluations.append(time.perf_counter() - began)
    evaluation_s = float(np.median(evaluations))
    return {
        "workload": workload.name,
        "held_out_of": workload.held_out_of,
        "family": workload.family,
        "tier": workload.tier,
        "metric": workload.metric,
        "direction": workload.direction,
        "target": record.get("validation_target"),
        "test_target": record.get("test_target"),
        "provisional": workload.provisional,
        "confirmed": record.get("confirmed"),
        "tries": len(record.get("tries", [])),
        "seeds": len(shares),
        "reached": len(steps),
        "median_steps": workload.reference_steps or None,
        "cv": float(np.std(steps, ddof=1) / np.mean(steps)) if len(steps) > 2 else None,
        "step_budget": workload.step_budget,
        "batch_size": workload.batch_size,
        "seed_sd": workload.seed_sd,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(workload.shapes())),
        "mflop_per_step": flops.flops_per_step(bench, reference, point) / 1e6,
        "step_ms": 1e3 * step_s,
        "evaluation_s": evaluation_s,
        "time_to_target_s": workload.reference_steps * step_s or None,
        "budget_s": workload.step_budget * step_s + workload.evaluations * evaluation_s,
        "load_average": load,
    }


def table(rows: list[dict]) -> str:
    """Markdown of some rows."""
    lines = [
        "| workload | metric | target | reached | steps to it (CV) | time to it | budget | parameters | MFLOP | step |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        sign = ">=" if r["direction"] == "max" else "<="
        target = "none yet" if r["target"] is None else f"{sign} {r['target']:.4g}" + (" *" if r["provisional"] else "")
        cv = "" if r["cv"] is None else f" ({100 * r['cv']:.0f} %)"
        steps = "" if r["median_steps"] is None else f"{r['median_steps']:.0f}{cv}"
        time_to = "" if r["time_to_target_s"] is None else f"{r['time_to_target_s']:.1f} s"
        reached = f"{r['reached']}/{r['seeds']}" if r["seeds"] else ""
        budget = f"{r['step_budget']:,} steps, {r['budget_s']:.1f} s"
        size = f"{r['parameters']:,} | {r['mflop_per_step']:.0f} | {r['step_ms']:.1f} ms"
        lines.append(
            f"| `{r['workload']}` | {r['metric']} | {target} | {reached} | {steps} | {time_to} | {budget} | {size} |"
        )
    return "\n".join(lines)


def write_docs(path: pathlib.Path, rows: list[dict]) -> None:
    """Puts one table per tier, and one of the held-out variants, between the page's markers."""
    parts = {
        "micro": [r for r in rows if r["tier"] == "micro" and not r["held_out_of"]],
        "lite": [r for r in rows if r["tier"] == "lite" and not r["held_out_of"]],
        "held-out": [r for r in rows if r["held_out_of"]],
    }
    for name, chosen in parts.items():
        if chosen:
            timed = "; ".join(sorted({r["timed"] for r in chosen}))
            about = (
                f"Timed on {timed}. Budget: all steps, and all evaluations of validation and evaluation-train; nothing "
                "else. `*`: provisional target."
            )
            page.put(path, f"{name} table", f"{table(chosen)}\n\n{about}")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", help="A,B:variant; default all shipped ones, then their variants that have targets")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "benchmarks" / "results" / "workloads.json")
    parser.add_argument("--docs", type=pathlib.Path)
    args = parser.parse_args()
    environment.setup()
    names = list(cli.comma_list(args.workloads)) if args.workloads else list(registry.names("workloads"))
    if not args.workloads:
        variants = [v for name in names for v in registry.variants(name)]
        names += [v for v in variants if (registry.target_records(v) / f"{v.replace(':', '_')}.json").is_file()]
    clock = Clock()
    known = {r["workload"]: r for r in json.loads(args.out.read_text())["rows"]} if args.out.is_file() else {}
    for name in names:
        try:
            row = facts(name, clock)
        except errors.EnvironmentFault as e:
            print(f"{name} is left out: {e}", flush=True)
            continue
        m = environment.manifest()
        on = f"{m['processor']}, {m['cores']} cores ({m['device_kind']}), Python {m['python']}, jax {m['jax']}"
        known[row["workload"]] = {**row, "timed": f"{records.utc()[:10]}: {on}"}
        print(table([row]).splitlines()[-1], flush=True)
        rows = sorted(known.values(), key=lambda r: r["workload"])
        args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    if args.docs:
        write_docs(args.docs, sorted(known.values(), key=lambda r: r["workload"]))


if __name__ == "__main__":
    main()
