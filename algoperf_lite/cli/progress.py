"""What a person sees while a benchmark runs: a live line on a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from algoperf_lite import records
from algoperf_lite.errors import counted
from algoperf_lite.records import Benchmark, Outcome, TrialSpec

PLAIN_EVERY_S = 10.0
PHASES = {
    "data": "loading data and compiling",
    "compile": "compiling",
    "cost": "measuring the cost factor of",
    "time": "timing",
}


class Progress:
    """Listens to a `runner.Runner`; a context manager, since the live display must be put away."""

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self._live: Any = None
        self._benchmark: Benchmark | None = None
        self._total = self._done = 0
        self._walls: dict[str, list[float]] = {}
        self._left: dict[str, int] = {}
        self._began = self._printed = 0.0

    def __enter__(self) -> "Progress":
        self._began = time.monotonic()
        if not self.quiet and sys.stdout.isatty():
            from rich.live import Live

            self._live = Live("", refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*error)
            self._live = None

    def __call__(self, phase: str, **facts: Any) -> None:
        """Called by the runner at every phase and evaluation."""
        if phase == "plan":
            self._plan(facts["benchmark"], facts["missing"])
        elif phase == "trial":
            self._began = time.monotonic()
        elif phase == "row":
            self._row(**facts)
        elif phase in PHASES:
            who = " on ".join(v for v in (facts.get("entrant"), facts.get("workload")) if v)
            self._show(f"{PHASES[phase]} {who}", force=True)
        elif phase not in ("train", "evaluate") or facts.get("event") is not None:
            self._trial(phase, facts["spec"], facts.get("event"))

    def board(self, benchmark: Benchmark, request: Any) -> None:
        """Says so where the directory's board holds more than this command names."""
        asked = None if request.submissions is None else len(request.submissions)
        if (request.studies or benchmark.studies) < benchmark.studies or (asked or 10**9) < len(benchmark.entrants):
            names = ", ".join(e.name for e in benchmark.entrants)
            self._line(f"this board holds {counted(benchmark.studies, 'study')} of {names}: all of it is run and scored")

    def ended(self, spec: TrialSpec, outcome: Outcome | None) -> None:
        """One line per finished trial."""
        if outcome is None:
            return
        self._done += 1
        self._walls.setdefault(spec.workload, []).append(outcome.wall_s)
        self._left[spec.workload] -= 1
        assert self._benchmark is not None
        smoke = self._benchmark.smoke
        what = "ran" if smoke and outcome.outcome == "budget_exhausted" else outcome.outcome.replace("_", " ")
        if outcome.reference_steps is not None:
            what += f" after {outcome.reference_steps:.0f} charged reference steps ({outcome.time_s:.1f} s)"
        elif outcome.best is not None and not smoke:
            info = self._benchmark.workloads[spec.workload]
            what += f", best {info.metric} {outcome.best:.4g} (target {info.validation_target:.4g})"
        self._line(f"[{self._done}/{self._total}] {_name(spec)}: {what}; {_minutes(self._eta())} to go")

    def _plan(self, benchmark: Benchmark, missing: list[TrialSpec]) -> None:
        self._benchmark, self._total = benchmark, len(missing)
        for spec in missing:
            self._left[spec.workload] = self._left.get(spec.workload, 0) + 1
        self._line(
            f"{benchmark.name} v{benchmark.version}, {benchmark.ruleset} ruleset, seed {benchmark.seed}: "
            f"{counted(len(missing), 'trial')} to run"
        )

    def _row(self, workload: str, entrant: str, done: int, total: int) -> None:
        """One line per row of a dry run."""
        to_go = (time.monotonic() - self._began) / done * (total - done)
        self._line(f"[{done}/{total}] {entrant} on {workload}; {_minutes(to_go)} to go")

    def _trial(self, phase: str, spec: TrialSpec, event: records.Event | None) -> None:
        assert self._benchmark is not None
        info = self._benchmark.workloads[spec.workload]
        text = f"[{self._done + 1}/{self._total}] {_name(spec)} {phase}"
        if event is not None:
            value = event.validation.get(info.metric)
            spent = time.monotonic() - self._began
            trial_eta = spent * (spec.step_cap - event.step) / event.step
            limit = info.step_budget * self._benchmark.budget_factor
            text += (
                f" step {event.step}/{spec.step_cap}, {info.metric} {'not finite' if value is None else f'{value:.4g}'} "
                f"(target {info.validation_target:.4g}), charged {event.reference_steps:.0f}/{limit:.0f} "
                f"reference steps, at most {_minutes(trial_eta)} in this trial, {_minutes(self._eta(spent))} in all"
            )
        self._show(text)

    def _eta(self, spent: float = 0.0) -> float | None:
        """Seconds to the end of the benchmark, from the mean wall time of each workload's finished trials."""
        every = [w for walls in self._walls.values() for w in walls]
        if not every:
            return None
        means = {name: sum(walls) / len(walls) for name, walls in self._walls.items()}
        mean = sum(every) / len(every)
        return max(sum(means.get(name, mean) * n for name, n in self._left.items()) - spent, 0.0)

    def _show(self, text: str, *, force: bool = False) -> None:
        if self.quiet:
            return
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(text))
        elif force or time.monotonic() - self._printed >= PLAIN_EVERY_S:
            self._line(text)

    def _line(self, text: str) -> None:
        if self.quiet:
            return
        self._printed = time.monotonic()
        if self._live is not None:
            from rich.text import Text

            self._live.console.print(Text(text))
        else:
            print(text, flush=True)


def _name(spec: TrialSpec) -> str:
    return f"{spec.workload} {spec.entrant} study {spec.study} trial {spec.trial}"


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
