"""`status`: what of a run directory is done, running, failed, missing."""

import argparse
import json

from algoperf_lite import errors, records, search, storage

HELP = "show what of a run directory is done, running, failed and missing"
EXAMPLES = ("status runs/demo",)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("dir", help="a run directory")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def main(args: argparse.Namespace) -> int:
    """Prints a line per entrant and workload."""
    directory = storage.RunDirectory(args.dir)
    benchmark = directory.benchmark()
    specs = search.trials(benchmark)
    begun = {_place(s): i for i, s in directory.trial_specs().items()}  # by place: ids hold the package's version
    outcomes = {s.id: directory.outcome(begun[_place(s)]) if _place(s) in begun else None for s in specs}
    holder = directory.running()
    walls = [o.wall_s for o in outcomes.values() if o is not None and o.wall_s]
    missing = sum(o is None for o in outcomes.values())
    eta = missing * sum(walls) / len(walls) if walls else None
    if args.json:
        kinds = {s.id: (o.outcome if o else "missing") for s, o in zip(specs, outcomes.values(), strict=True)}
        print(json.dumps({"trials": kinds, "running": holder, "eta_s": eta}, indent=1))
        return 0
    print(f"{benchmark.name} v{benchmark.version}, {benchmark.ruleset} ruleset, seed {benchmark.seed}", end="")
    studies, trials = errors.counted(benchmark.studies, "study"), errors.counted(len(specs), "trial")
    print(f", {studies}; {len(specs) - missing} of {trials} done")
    for workload in benchmark.workloads:
        for entrant in benchmark.entrants:
            counts: dict[str, int] = {}
            for s in specs:
                if (s.workload, s.entrant) != (workload, entrant.name):
                    continue
                o, events = outcomes[s.id], directory.events(begun[_place(s)]) if _place(s) in begun else []
                kind = o.outcome if o else f"begun (step {events[-1].step})" if events else "missing"
                counts[kind] = counts.get(kind, 0) + 1
            print(f"  {workload:<16} {entrant.name:<24} " + ", ".join(f"{n} {k}" for k, n in sorted(counts.items())))
    if holder:
        print(f"running: {holder}")
    elif missing:
        print("not running; the `run` command that began it goes on where it stopped")
    if missing and eta is not None:
        print(f"about {eta:.0f} s to go")
    return 0


def _place(spec: records.TrialSpec) -> tuple[str, str, int, int]:
    return spec.workload, spec.entrant, spec.study, spec.trial
