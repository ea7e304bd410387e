"""`validate`: the contract checks on one submission or workload."""

import argparse

HELP = "run the contract checks on a submission or workload: one line each, with the mend"
EXAMPLES = ("validate ./my_opt.py", "validate nadamw", "validate digits_vit")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("name", help="a shipped name or the path of a file")
    parser.add_argument("--kind", choices=("submission", "workload"), help="default: told from the file")


def main(args: argparse.Namespace) -> int:
    """0 where all checks pass, 1 where one fails."""
    from algoperf_lite import contract, environment, registry

    environment.setup()
    is_workload = args.kind == "workload" or (args.kind is None and _is_workload(args.name, registry))
    run = contract.validate_workload if is_workload else contract.validate_submission
    failed = 0
    for result in run(args.name):
        failed += not result.ok
        print(f"{'ok  ' if result.ok else 'FAIL'} {result.check}" + (f": {result.detail}" if result.detail else ""))
        if not result.ok and result.mend:
            print(f"     mend: {result.mend}")
    print("all checks passed" if not failed else f"{failed} failed")
    return 1 if failed else 0


def _is_workload(name: str, registry) -> bool:
    """A shipped workload, or a file that speaks of spec.Workload."""
    import pathlib

    if name in registry.names("workloads"):
        return True
    path = pathlib.Path(name)
    return path.suffix == ".py" and path.is_file() and "spec.Workload(" in path.read_text("utf-8", "replace")
