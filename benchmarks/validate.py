"""How long `algoperf-lite validate` takes for every shipped submission, and whether it passes.

Run: python -m benchmarks.validate [--submissions A,B] [--out benchmarks/results/validate.json]

Each in a process of its own with a compile cache that is empty at the start, as when an author runs it first. Aim: 60 s.
About half a minute a submission; finished rows are kept and left out of a later run, unless they are named.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from algoperf_lite import cli, environment, records, registry

ROOT = pathlib.Path(__file__).resolve().parent.parent
AIM_S = 60.0


def measure(name: str) -> dict:
    """Seconds of the whole command, and its last line."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "ALGOPERF_LITE_CACHE": cache}
        start = time.perf_counter()
        command = [sys.executable, "-m", "algoperf_lite", "validate", name]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
        seconds = time.perf_counter() - start
    lines = (done.stdout + done.stderr).strip().splitlines()
    return {
        "submission": name,
        "seconds": round(seconds, 1),
        "passed": done.returncode == 0,
        "last_line": lines[-1] if lines else "",
        "date": records.utc(),
        "manifest": environment.manifest(),
    }


def main() -> None:
    """Measures, keeps, prints the slowest first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", help="A,B; default all shipped ones that have no row yet")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "benchmarks" / "results" / "validate.json")
    args = parser.parse_args()
    rows = {r["submission"]: r for r in json.loads(args.out.read_text())} if args.out.is_file() else {}
    for name in cli.comma_list(args.submissions) if args.submissions else registry.names("submissions"):
        if args.submissions or name not in rows:
            rows[name] = measure(name)
            print(f"{name}: {rows[name]['seconds']} s, {rows[name]['last_line']}", flush=True)
            args.out.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
    times = sorted(r["seconds"] for r in rows.values())
    slowest = sorted(rows.values(), key=lambda r: -r["seconds"])[:5]
    print(f"{len(rows)} submissions, {sum(r['passed'] for r in rows.values())} pass: median {times[len(times) // 2]} s")
    print("slowest: " + ", ".join(f"{r['submission']} {r['seconds']} s" for r in slowest))
    print(f"over {AIM_S:.0f} s: {', '.join(r['submission'] for r in rows.values() if r['seconds'] > AIM_S) or 'none'}")


if __name__ == "__main__":
    main()
