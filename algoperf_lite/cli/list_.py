"""`list`: what there is, read with `ast`; nothing is imported."""

import argparse
import json

HELP = "list workloads, submissions, benchmarks, studies and data sets"
EXAMPLES = ("list", "list workloads", "list submissions --json")
KINDS = ("workloads", "submissions", "benchmarks", "studies", "data")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("kind", nargs="?", choices=KINDS, help="one kind only")
    parser.add_argument("--json", action="store_true", help="machine-readable")


def main(args: argparse.Namespace) -> int:
    """Prints a table per kind."""
    found = {kind: entries(kind) for kind in ([args.kind] if args.kind else KINDS)}
    if args.json:
        print(json.dumps(found, indent=1))
        return 0
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for kind, rows in found.items():
        table = Table(title=kind, title_justify="left", title_style="bold", box=None, pad_edge=False, show_header=False)
        for name, line in rows.items():
            table.add_row(name, line)
        console.print(table if rows else f"{kind}: none yet")
    return 0


def entries(kind: str) -> dict[str, str]:
    """Names and first lines."""
    if kind == "data":
        from algoperf_lite.data import catalog

        return {
            name: f"{entry.description}; {entry.bytes / 2**20:.1f} MiB; licence: {entry.licence}"
            for name, entry in catalog.CATALOG.items()
        }
    from algoperf_lite import registry

    return {name: registry.describe_line(path) for name, path in registry.names(kind).items()}
