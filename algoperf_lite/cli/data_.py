"""`data`: fetch, verify and list data sets."""

import argparse
import json
import pathlib
import sys
from collections.abc import Callable

HELP = "fetch, verify or list data sets"
EXAMPLES = ("data list", "data list --json", "data fetch tinyshakespeare", "data fetch --mirror /mnt/mirror", "data verify")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("action", choices=("fetch", "verify", "list"))
    parser.add_argument("names", nargs="*", help="data sets; default all")
    parser.add_argument("--mirror", type=pathlib.Path, help="fetch: a local folder in place of the network")
    parser.add_argument("--json", action="store_true", help="list: machine-readable")


def main(args: argparse.Namespace) -> int:
    """What `list` prints of each data set, or one line per data set fetched or verified."""
    from algoperf_lite import errors
    from algoperf_lite.data import catalog, fetch

    for name in args.names:
        fetch.find(name)
    for flag, action in (("mirror", "fetch"), ("json", "list")):
        if getattr(args, flag) and args.action != action:
            raise errors.UserError(f"--{flag} goes with `data {action}`, not with `data {args.action}`")
    names = list(dict.fromkeys(args.names)) or list(catalog.CATALOG)
    if args.action == "list":
        _list({name: facts(name) for name in names}, args.json)
        return 0
    worst = 0
    for name in names:
        try:
            if args.action == "fetch":
                whole = fetch.present(name) == len(fetch.find(name).files)
                fetch.fetch(name, args.mirror, _progress(name))
                done = "in place" if whole else "fetched"
            else:
                fetch.verify(name)
                done = "verified"
            print(f"{name}: {done}, {fetch.root() / name}")
        except errors.UserError as e:
            _clear()
            print(f"{name}: {e}")
            worst = max(worst, e.code)
    return worst


def facts(name: str) -> dict[str, str | int]:
    """What `list` shows of one data set; `state` is present, absent, or how much of it is there."""
    from algoperf_lite.data import fetch

    entry, there = fetch.find(name), fetch.present(name)
    states = {0: "absent", len(entry.files): "present"}
    return {
        "description": entry.description,
        "state": states.get(there, f"{there} of {len(entry.files)} files present"),
        "bytes": entry.bytes,
        "files": len(entry.files),
        "licence": entry.licence,
        "source": entry.source,
        "folder": str(fetch.root() / name),
    }


def _list(entries: dict[str, dict[str, str | int]], as_json: bool) -> None:
    from algoperf_lite.data import fetch

    if as_json:
        print(json.dumps(entries, indent=1))
        return
    for name, fact in entries.items():
        files = "1 file" if fact["files"] == 1 else f"{fact['files']} files"
        print(f"{name}: {fact['state']}, {int(fact['bytes']) / 2**20:.1f} MiB in {files}")
        for key in ("description", "licence", "source"):
            print(f"  {'' if key == 'description' else f'{key}: '}{fact[key]}")
    print(f"folder: {fetch.root()} (another: ALGOPERF_LITE_DATA)")


def _progress(name: str) -> Callable[[int, int, int], None] | None:
    """Rewrites one line of a terminal; nothing where stderr is none."""
    if not sys.stderr.isatty():
        return None

    def show(fetched: int, of: int, received: int) -> None:
        sys.stderr.write(f"\r\033[K{name}: {fetched} of {of} files, {received / 2**20:.1f} MiB")
        if fetched == of:
            _clear()
        sys.stderr.flush()

    return show


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
