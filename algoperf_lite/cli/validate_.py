"""`validate`: the contract checks on one submission or workload."""

import argparse

HELP = "run the contract checks on a submission or workload: one line each, with the mend"
EXAMPLES = ("validate ./my_opt.py", "validate nadamw --quick", "validate digits_vit")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("name", help="a shipped name or the path of a file")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a submission on a small problem only: not the micro workloads, 8 devices and cost",
    )
    parser.add_argument("--kind", choices=("submission", "workload"), help="default: told from the file")


def main(args: argparse.Namespace) -> int:
    """0 where all checks pass, 1 where one fails.

    Raises:
      UserError: a name that is nobody's.
    """
    from algoperf_lite import contract, environment, errors, registry

    is_workload = args.kind == "workload" or (args.kind is None and registry.is_workload(args.name))
    try:
        registry.file_sha256("workloads" if is_workload else "submissions", args.name)
    except errors.UserError:
        if args.kind is not None or not args.name.isidentifier():
            raise
        known = [*registry.names("workloads"), *registry.names("submissions")]
        raise errors.unknown("workload or submission", args.name, known) from None
    environment.setup()
    run = (
        contract.validate_workload(args.name) if is_workload else contract.validate_submission(args.name, quick=args.quick)
    )
    failed = 0
    for result in run:
        failed += not result.ok
        print(
            f"{'ok  ' if result.ok else 'FAIL'} {result.check}" + (f": {result.detail}" if result.detail else ""),
            flush=True,
        )
        if not result.ok and result.mend:
            print(f"     mend: {result.mend}")
    print("all checks passed" if not failed else f"{failed} failed")
    return 1 if failed else 0
