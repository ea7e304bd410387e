"""`run`: all missing trials of a benchmark; the same command resumes."""

import argparse
import pathlib
import re
import signal
import sys
from collections.abc import Sequence

HELP = "run all missing trials of a benchmark, then score and report; the same command resumes"
EXAMPLES = (
    "run demo",
    "run demo --submissions nadamw,mine=./my_opt.py --studies 5",
    "run demo --workloads digits_vit --smoke",
    "run micro-smoke --submissions all",
    "run demo --dry-run",
    "run my_benchmark.toml --out runs/mine --mesh data=4,fsdp=2",
)
RETRIES = ("error", "out_of_memory")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("benchmark", help="a shipped name, or the path of a .toml file")
    parser.add_argument("--workloads", help="A,B in place of the benchmark's")
    parser.add_argument(
        "--submissions",
        help="X,mine=my.py in place of the benchmark's; name=source names an entrant, name=source:learning_rate=0.02 fixes "
        "a hyperparameter of it, all stands for every shipped one",
    )
    parser.add_argument("--out", type=pathlib.Path, help="run directory; default runs/BENCHMARK")
    parser.add_argument("--seed", type=int, help="board seed; 0-999 are development seeds")
    parser.add_argument("--nonce", help="draw the board seed from the frozen submissions and this text (publication)")
    parser.add_argument("--studies", type=int, help="independent repetitions; may be raised later")
    parser.add_argument("--smoke", action="store_true", help="two evaluations per trial, one study, never ranked")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what it would take in time, memory and disk; run nothing"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run: machine-readable")
    parser.add_argument("--retry", default="", help=f"run again trials that ended so: {','.join(RETRIES)}")
    parser.add_argument("--mesh", help="such as data=4,fsdp=2; default all devices along data")
    parser.add_argument("--devices", type=int, help="number of devices; default all")
    parser.add_argument("--checkpoint-every", type=float, default=60.0, metavar="S", help="seconds (%(default)s)")
    parser.add_argument("--no-report", action="store_true", help="leave the report to `algoperf-lite report`")
    several = parser.add_argument_group("several processes (all on one shared run directory)")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    several.add_argument("--num-processes", type=int, default=1)
    several.add_argument("--process-id", type=int, default=0)


def main(args: argparse.Namespace) -> int:
    """Runs, scores and reports. 1 where trials failed, 130 where it was interrupted."""
    from algoperf_lite import cli, config, errors, records, storage

    retry = tuple(cli.comma_list(args.retry))
    for kind in retry:
        if kind not in RETRIES:
            raise errors.unknown("outcome in --retry", kind, RETRIES)
    if args.studies is not None and args.studies < 1:
        raise errors.UserError(f"--studies {args.studies}: accepted are 1 and more")
    if args.seed is not None and not 0 <= args.seed < 2**31:
        raise errors.UserError(f"--seed {args.seed}: accepted are 0 to {2**31 - 1}")
    several = (args.coordinator is not None, args.num_processes != 1, args.process_id != 0)
    if any(several) and not (several[0] and 0 <= args.process_id < args.num_processes):
        raise errors.UserError(
            f"--coordinator {args.coordinator} --num-processes {args.num_processes} --process-id {args.process_id}: "
            "the three go together, process ids count from 0"
        )
    if args.coordinator is not None and not re.fullmatch(r"\S+:\d{1,5}", args.coordinator):
        raise errors.UserError(f"--coordinator {args.coordinator}: accepted is HOST:PORT, such as localhost:12345")
    if not 0 <= args.checkpoint_every < float("inf"):
        raise errors.UserError(f"--checkpoint-every {args.checkpoint_every}: accepted are seconds, 0 or more")
    if args.seed is not None and args.nonce is not None:
        raise errors.UserError("--seed and --nonce exclude each other: the nonce draws the seed")
    if args.json and not args.dry_run:
        raise errors.UserError("--json goes with --dry-run; results as JSON: algoperf-lite score DIR --json")
    file = config.load_benchmark(args.benchmark)
    workloads = cli.comma_list(args.workloads) if args.workloads is not None else None
    submissions = _submissions(cli.comma_list(args.submissions)) if args.submissions is not None else None
    _check_names(file, workloads, submissions)
    smoke = args.smoke or file.smoke
    out = args.out or pathlib.Path("runs") / (file.name + ("-smoke" if args.smoke and not file.smoke else ""))

    if any(p.exists() and not p.is_dir() for p in (out, *out.parents)):
        raise errors.UserError(f"--out {out}: a file stands in the way; --out is a folder")

    # Everything above costs nothing; now the machine is asked.
    from algoperf_lite import environment, mesh, runner
    from algoperf_lite.cli import progress
    from algoperf_lite.clock import Clock

    environment.setup(args.coordinator, args.num_processes, args.process_id)
    import jax

    first = jax.process_index() == 0
    directory = storage.RunDirectory(out, writer=first)
    request = runner.Request(
        benchmark=file,
        mesh=mesh.parse(args.mesh, args.devices),
        source=args.benchmark,
        workloads=list(workloads) if workloads is not None else None,
        submissions=submissions,
        seed=args.seed,
        nonce=args.nonce,
        studies=args.studies,
        smoke=smoke,
        retry=retry,
        checkpoint_every_s=args.checkpoint_every,
    )
    if args.dry_run:
        return _dry_run(request, directory, quiet=not first, as_json=args.json)
    shown = progress.Progress(quiet=not first)
    _lock(directory)
    try:
        with shown, _Interrupts() as interrupts:
            engine = runner.Runner(
                request, directory, Clock(processes=jax.process_count()), shown, lambda: interrupts.asked
            )
            benchmark = engine.resolve()
            shown.board(benchmark, request)
            failed, diverged, interrupted = [], [], environment.anywhere(interrupts.asked)
            for spec, outcome in () if interrupted else engine.run(benchmark):
                shown.ended(spec, outcome)
                if outcome is None:
                    interrupted = True
                elif outcome.outcome in records.FAILED:
                    failed.append((spec, outcome))
                elif outcome.outcome == "diverged":
                    diverged.append(f"{spec.entrant} on {spec.workload}")
                if environment.anywhere(interrupts.asked):  # all processes leave together
                    interrupted = True
                    break
    finally:
        directory.unlock()
    if not first:
        return 130 if interrupted else 0
    if interrupted:
        print(f"stopped; the same command goes on where it stopped ({out})", file=sys.stderr)
        return 130
    for spec, outcome in failed:
        _, ours, reason = outcome.message.strip().rpartition("algoperf_lite.errors.UserError: ")
        if not ours:  # else the whole message, with its mend
            reason = reason.splitlines()[-1] if reason else ""
        print(f"failed: {spec.workload} {spec.entrant} study {spec.study} trial {spec.trial}: {outcome.outcome}: {reason}")
    if diverged:
        who, count = ", ".join(sorted(set(diverged))), errors.counted(len(diverged), "trial")
        print(f"diverged, the loss was not finite: {who} ({count})")
    if failed:
        count = errors.counted(len(failed), "trial")
        print(f"{count} failed; tracebacks in {out}/trials/*/outcome.json, again with --retry error")
    if not args.no_report:
        _report(out)
    return 1 if failed else 0


def _submissions(asked: Sequence[str]) -> list[str]:
    """Names as they were asked for, with every shipped one in the place of `all`."""
    from algoperf_lite import registry

    return [name for given in asked for name in (registry.names("submissions") if given == "all" else [given])]


def _dry_run(request, directory, *, quiet: bool, as_json: bool) -> int:
    """Takes no lock: it writes nothing to the directory."""
    import jax
    from rich.console import Console

    from algoperf_lite import dry_run
    from algoperf_lite.cli import dry_run as shown
    from algoperf_lite.cli import progress
    from algoperf_lite.clock import Clock

    with progress.Progress(quiet=quiet or as_json) as listener:
        found = dry_run.DryRunner(request, directory, Clock(processes=jax.process_count()), listener).gather()
    if as_json and not quiet:
        import json

        import msgspec

        print(json.dumps({**msgspec.to_builtins(found), **found.totals()}, indent=1))
    elif not quiet:
        shown.show(found, Console())
    return 0


def _lock(directory) -> None:
    """Process 0 takes the directory; where it cannot, all processes say so and end together."""
    from algoperf_lite import environment, errors

    refused = ""
    try:
        directory.lock()
    except errors.EnvironmentFault:
        raise
    except errors.UserError as e:
        refused = str(e)
    refused = environment.broadcast(refused)
    if refused:
        raise errors.UserError(refused)


def _check_names(file, workloads, submissions) -> None:
    """Unknown names are answered before anything heavy is imported."""
    from algoperf_lite import config, errors, registry

    for kind, asked, default in (
        ("workloads", workloads, file.workloads),
        ("submissions", submissions, [*file.submissions, *(f"{e.name}={e.source}" for e in file.entrant)]),
    ):
        names = list(default if asked is None else asked)
        if kind == "submissions":
            names = [*config.entrants(names).values()]
        if asked is not None and not names:
            raise errors.UserError(f"--{kind} is empty")
        twice = sorted({name for name in names if names.count(name) > 1})
        if kind == "workloads" and twice:
            raise errors.UserError(f"workload {twice[0]} is named twice")
        for name in names:
            source = registry.split_values(name)[0]
            if re.fullmatch(r"[A-Za-z0-9_]+", source) and source not in registry.names(kind):
                import importlib.metadata

                points = importlib.metadata.entry_points(group=f"algoperf_lite.{kind}")
                if source not in {p.name for p in points}:
                    hint = f"a file is named by its path, such as ./{source}.py"
                    raise errors.unknown(kind.removesuffix("s"), source, registry.names(kind), hint)


def _report(out: pathlib.Path) -> None:
    """The short form on the terminal and the page beside the run."""
    from rich.console import Console

    from algoperf_lite import results
    from algoperf_lite.report import page, terminal

    terminal.print_summary(results.score(out), Console())
    print(f"report: {page.write(out, light=True)}")


class _Interrupts:
    """Ctrl-C once: save and stop at the next evaluation. Twice: stop now. SIGTERM counts as the first."""

    def __init__(self):
        self.asked = False

    def __enter__(self) -> "_Interrupts":
        self._before = {s: signal.signal(s, self._on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: object) -> None:
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        print("\nstopping when what runs now is measured and saved; Ctrl-C again stops now", file=sys.stderr, flush=True)
