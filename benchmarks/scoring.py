"""How long scoring takes: AlgoPerf's logs at the size of its largest board, and the report of a large board of ours.

Run: python benchmarks/scoring.py --logs ../shared/algoperf_logs [--repeats 5] [--out benchmarks/results/scoring.json]

`--logs` is a folder with official logs, as tar files or unpacked. Trials of them are drawn with replacement, workload by
workload, into a board of 13 submissions, 5 studies and 5 trials on the 14 workloads of v0.5 external: 4,550 trials. The
columns that published files have and these lack are filled in, and evaluations after the budget are left out (self-tuning
runs are three times as long). Every timing is a fresh process, import included; printed
are medians, with the fastest and the slowest.

- parse and score: read all files, apply AlgoPerf's rule; no bootstrap. Target: 3 s.
- score --json: the whole command, with intervals, verdicts and ablations.
- report: the page, tables and figures of a run directory of 2,000 trials (50 evaluations each). Target: 15 s.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # `import scoring` means the package, not this file; and the tests' synthetic run is used

BOARD = "algoperf-v0.5-external"
SUBMISSIONS, STUDIES, TRIALS = 13, 5, 5
FILE = "eval_measurements.csv"
MORE = [  # columns of a published file that the logs at hand lack
    *("accumulated_eval_time", "accumulated_logging_time", "preemption_count", "total_duration"),
    *(f"{split}/{name}" for split in ("train", "validation", "test") for name in ("loss", "error", "num_examples")),
    *(f"{split}/{name}" for split in ("train", "validation", "test") for name in ("ctc_loss", "normalized_loss")),
]
PARSE = f"""\
from algoperf_lite import results
import scoring, sys
found = results.read(sys.argv[1], "{BOARD}")
print(len(found.board.trials), len(scoring.board_scores(found.board)))
"""
REPORT = """\
import sys
from algoperf_lite.report import page
page.write(sys.argv[1], sys.argv[2], light=sys.argv[3] == "light")
"""


def main() -> int:
    """Prints a table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=pathlib.Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"load average {load:.2f} on {os.cpu_count()} cores, {args.repeats} repeats")
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        trials = make_logs(args.logs, work)
        run = make_run(work / "run")
        rows = {
            f"parse and score {trials} trials": (timed(args.repeats, "-c", PARSE, str(work / "board")), 3.0),
            f"score --json of {trials} trials": (
                timed(args.repeats, "-m", "algoperf_lite", "score", str(work / "board"), "--benchmark", BOARD, "--json"),
                None,
            ),
            "report of 2000 trials": (timed(args.repeats, "-c", REPORT, str(run), str(work / "out/a.html"), ""), 15.0),
            "report of 2000 trials --light": (
                timed(args.repeats, "-c", REPORT, str(run), str(work / "out/b.html"), "light"),
                15.0,
            ),
        }
        sizes = {name: (work / "out" / name).stat().st_size / 1e6 for name in ("a.html", "b.html")}
    missed = False
    for name, (seconds, target) in rows.items():
        middle = statistics.median(seconds)
        missed |= target is not None and middle > target
        goal = f"  target {target:g} s" if target else ""
        print(f"{name:<34} {middle:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}){goal}")
    print(f"size of the page: {sizes['a.html']:.1f} MB, --light {sizes['b.html']:.1f} MB")
    print(f"load average at the end {os.getloadavg()[0]:.2f}")
    if args.out:
        args.out.write_text(
            json.dumps({"load_average": load, "seconds": {k: v[0] for k, v in rows.items()}, "megabytes": sizes}, indent=1)
            + "\n"
        )
    return int(missed)


def make_logs(logs: pathlib.Path, work: pathlib.Path) -> int:
    """Write WORK/board from the trials of `logs`; return how many."""
    from algoperf_lite import config

    for archive in sorted(logs.glob("*.tar*")):
        with tarfile.open(archive) as tar:
            tar.extractall(work / "source", filter="data")
    found = collections.defaultdict(list)
    for path in sorted((work / "source" if (work / "source").is_dir() else logs).rglob(FILE)):
        found[path.parent.parent.name.rpartition("_")[0]].append(path)
    rng = random.Random(0)
    count = 0
    for workload in config.load_logs(BOARD).workload:
        wide = [widened(path.read_text(), workload.budget_s) for path in found[workload.name]]
        for s in range(SUBMISSIONS):
            for study in range(STUDIES):
                for trial in range(1, TRIALS + 1):
                    target = work / f"board/submission_{s}/study_{study}/{workload.name}_jax/trial_{trial}/{FILE}"
                    target.parent.mkdir(parents=True)
                    target.write_text(rng.choice(wide))
                    (target.parent / "hparams.json").write_text('{"learning_rate": 0.001, "beta1": 0.9}')
                    count += 1
    return count


def widened(text: str, budget_s: float) -> str:
    """The evaluations within the budget, with as many columns as a published file has."""
    header, *lines = text.splitlines()
    names = header.split(",")
    lines = [line for line in lines if float(line.split(",")[names.index("score")]) <= budget_s]
    more = [name for name in MORE if name not in names]
    filler = "," + ",".join(f"{k + 0.123456789:.9f}" for k in range(len(more)))
    return "".join(f"{line}\n" for line in [header + "," + ",".join(more), *(line + filler for line in lines)])


def make_run(path: pathlib.Path) -> pathlib.Path:
    """A run directory of 2,000 trials: 10 entrants, 8 workloads, 5 studies of 5 points."""
    from tests import synthetic_run

    entrants, workloads = tuple(f"entrant_{i}" for i in range(10)), tuple(f"workload_{i}" for i in range(8))
    board = synthetic_run.benchmark(entrants=entrants, workloads=workloads, studies=5, points=5, reference_steps=250.0)

    def hit(entrant: str, workload: str, study: int, trial: int) -> int | None:
        at = 18 + 3 * int(entrant[-1]) + (5 * int(workload[-1]) + 7 * study + 3 * trial) % 12
        return at if at <= synthetic_run.EVALUATIONS else None

    return synthetic_run.write(path, board, hit)


def timed(repeats: int, *command: str) -> list[float]:
    """Wall seconds of each fresh process."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    sys.exit(main())
