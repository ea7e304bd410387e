"""`data`: fetch, verify and list data sets."""

import argparse
import pathlib

HELP = "fetch, verify or list data sets"
EXAMPLES = ("data list", "data fetch tinyshakespeare", "data fetch --mirror /mnt/mirror", "data verify")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("action", choices=("fetch", "verify", "list"))
    parser.add_argument("names", nargs="*", help="data sets; default all")
    parser.add_argument("--mirror", type=pathlib.Path, help="a local folder in place of the network")


def main(args: argparse.Namespace) -> int:
    """One line per data set."""
    from algoperf_lite import errors
    from algoperf_lite.data import catalog, fetch

    for name in args.names:
        fetch.find(name)
    names = args.names or list(catalog.CATALOG)
    worst = 0
    for name in names:
        if args.action == "list":
            print(f"{name}: {catalog.CATALOG[name].description}; licence: {catalog.CATALOG[name].licence}")
            continue
        try:
            if args.action == "fetch":
                fetch.fetch(name, args.mirror)
            else:
                fetch.verify(name)
            print(f"{name}: {'in place' if args.action == 'fetch' else 'verified'}, {fetch.root() / name}")
        except errors.UserError as e:
            print(f"{name}: {e}")
            worst = max(worst, e.code)
    return worst
