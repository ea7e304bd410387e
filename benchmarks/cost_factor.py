"""How well the cost factor of PROTOCOL P4 repeats: the same entrant measured several times in one process.

Run: python benchmarks/cost_factor.py [--submission adamw] [--repeats 6] [--out benchmarks/results/cost_factor.json]

Prints, per workload, the repeated factors and their spread (max / min - 1), with the load average; on an idle machine the
spread should stay within 5 %.
"""

import argparse
import json
import os
import pathlib
import sys

from algoperf_lite import cli, cost, engine, environment, mesh, records, registry
from algoperf_lite.clock import Clock


def main() -> int:
    """Prints a table; 1 where a spread is over 5 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="digits_resnet,digits_vit,markov_lm")
    parser.add_argument("--submission", default="adamw")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    environment.setup()
    reference = registry.load_submission("nadamw")
    entrant = registry.load_submission(args.submission)
    print(f"load average {os.getloadavg()[0]:.2f} on {environment.usable_cores()} cores")
    result = {"manifest": environment.manifest(), "date": records.utc(), "submission": args.submission, "workloads": {}}
    worst = 0.0
    for name in cli.comma_list(args.workloads):
        bench = engine.compile_bench(registry.load_workload(name), mesh.make({"data": 1, "fsdp": 1}))
        points = entrant.resolve({}), reference.resolve({})
        compiled = [engine.compile_programs(bench, s, p) for s, p in zip((entrant, reference), points, strict=True)]
        factors = [cost.cost(*compiled, *points, 1.0, Clock()).factor for _ in range(args.repeats)]
        spread = max(factors) / min(factors) - 1
        worst = max(worst, spread)
        result["workloads"][name] = {"factors": factors, "spread": spread, "load_average": os.getloadavg()[0]}
        print(f"{name:<16} {' '.join(f'{f:.4f}' for f in factors)}  spread {100 * spread:.1f} %", flush=True)
    print(f"load average at the end {os.getloadavg()[0]:.2f}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(worst > 0.05)


if __name__ == "__main__":
    sys.exit(main())
