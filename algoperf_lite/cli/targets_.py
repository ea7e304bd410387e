"""`targets`: reruns the procedure that set a workload's target (PROTOCOL P12)."""

import argparse
import math
import pathlib

HELP = "rerun the procedure that sets a workload's target; resumable"
EXAMPLES = (
    "targets digits_vit",
    "targets digits_vit:glu",
    "targets shakespeare_lm --points 2 --seeds 2 --optimizers nadamw",
    "targets fashion_resnet --one-run learning_rate=0.01,weight_decay=0.01",
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("workload", help="a shipped name or the path of a file")
    parser.add_argument("--out", type=pathlib.Path, help="default runs/targets/WORKLOAD")
    parser.add_argument("--points", type=int, default=24, help="points of block T for each optimizer (%(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="seeds of blocks V and C (%(default)s)")
    parser.add_argument("--optimizers", default="adamw,nadamw,nesterov", help="%(default)s")
    parser.add_argument(
        "--one-run",
        metavar="NAME=VALUE,...",
        help="no procedure, a provisional target: what one run of nadamw reaches with these and else its DEFAULTS",
    )


def main(args: argparse.Namespace) -> int:
    """Runs what is missing and prints the target; the record lies in OUT/record.json."""
    from algoperf_lite import cli, environment, errors, registry, spec, targets

    if args.points < 1 or args.seeds < 1:
        raise errors.UserError(f"--points {args.points} --seeds {args.seeds}: both must be 1 or more")
    environment.setup()
    workload = registry.load_workload(args.workload)
    out = args.out or pathlib.Path("runs/targets") / workload.name
    optimizers = tuple(cli.comma_list(args.optimizers))
    if "nadamw" not in optimizers:
        raise errors.UserError("--optimizers must hold nadamw: it is the reference")
    given = _given(args) if args.one_run is not None else None
    if given is not None and workload.held_out_of is not None:
        raise errors.UserError(f"--one-run: {args.workload} is a variant, its settings are those of its base")
    plan = targets.Plan(0, 1, ("nadamw",)) if given is not None else targets.Plan(args.points, args.seeds, optimizers)
    records = registry.target_records(args.workload)
    base = None
    if workload.held_out_of is not None:
        path = records / f"{workload.held_out_of}.json"
        if not path.is_file():
            raise errors.UserError(
                f"{args.workload} is a variant: its target rests on the record of its base, and {path} is not there\n"
                f"  make it first: algoperf-lite targets {registry.split_variant(args.workload)[0]}"
            )
        try:
            base = spec.read_record(path)
        except ValueError as e:
            raise errors.UserError(str(e)) from e
    procedure = targets.Procedure(workload, out, plan, lambda line: print(line, flush=True), base)
    record = procedure.run() if given is None else procedure.one_run(given)
    print(f"{workload.name} v{workload.version}: {workload.metric} {record['validation_target']:.6g}", end=" ")
    confirmed = record.get("confirmed", True)  # a variant's target has no confirming block
    tries = f"NOT confirmed after {len(record['tries'])} tries" if "tries" in record else "of one run, provisional"
    print(f"set by {record['set_by']['optimizer']}", "" if confirmed else tries)
    print(f"record: {out / 'record.json'}")
    if confirmed or given is not None:
        print(f"spec.recorded reads it from: mkdir -p {records} && cp {out / 'record.json'} {records / workload.name}.json")
    return 0 if confirmed or given is not None else 1


def _given(args: argparse.Namespace) -> dict[str, float]:
    """Hyperparameters of `--one-run`."""
    from algoperf_lite import cli, errors

    found = {}
    for item in cli.comma_list(args.one_run):
        name, equals, value = item.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not math.isfinite(found[name.strip()]):
            raise errors.UserError(f"--one-run {args.one_run}: {item!r} is not NAME=VALUE with a finite number")
    return found
