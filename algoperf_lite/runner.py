"""A benchmark from its file to its last outcome: resolve, measure costs, run all missing trials.

Everything that a board rests on is settled in `benchmark.json` before the first trial and never measured again in that
directory (PROTOCOL P4, P18).
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from algoperf_lite import __version__, config, cost, environment, errors, mesh, records, registry, search, trial
from algoperf_lite.clock import Clock
from algoperf_lite.compiled import REFERENCE, Compiled
from algoperf_lite.data import fetch
from algoperf_lite.records import Benchmark, Entrant, TrialSpec
from algoperf_lite.storage import RunDirectory

UNREACHABLE = 1e30  # stands for the target that a workload does not have yet, where nothing is ranked


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command line asks for, on top of a benchmark file."""

    benchmark: config.BenchmarkConfig
    mesh: dict[str, int]
    source: str = ""  # name or path of the benchmark file
    workloads: list[str] | None = None
    submissions: list[str] | None = None
    seed: int | None = None
    nonce: str | None = None  # draws the seed of a publication board (P11)
    studies: int | None = None
    smoke: bool = False
    retry: tuple[str, ...] = ()
    checkpoint_every_s: float = 60.0


Tell = Callable[..., None]


class Runner:
    """Runs one request in one directory.

    Args:
      tell: hears (phase, **facts) of everything that goes on.
      stop: whether to stop at the next evaluation.
    """

    def __init__(
        self,
        request: Request,
        directory: RunDirectory,
        clock: Clock,
        tell: Tell = lambda phase, **facts: None,
        stop: Callable[[], bool] = lambda: False,
    ):
        self.request, self.directory, self.clock, self.tell, self.stop = request, directory, clock, tell, stop
        self._compiled = Compiled(mesh.make(request.mesh), tell, hastily=request.smoke)

    @property
    def ranks(self) -> bool:
        """Whether its trials count: then every workload needs a target."""
        return not self.request.smoke

    # -- resolving

    def resolve(self) -> Benchmark:
        """The resolved benchmark: read back where the directory has one, else measured; entrants and studies may be
        added to what is there.

        Raises:
          UserError: names, files, hyperparameters or a directory that do not fit.
        """
        benchmark = self.settle()
        benchmark = msgspec.structs.replace(benchmark, costs=self._costs(benchmark))
        # All processes go by the first one's measurements.
        benchmark = msgspec.convert(environment.broadcast(msgspec.to_builtins(benchmark)), Benchmark)
        if benchmark.smoke:
            self._drop_trials_of_changed_files(benchmark)
        if not self.directory.exists() or benchmark != self.directory.benchmark():
            self.directory.write_benchmark(benchmark)
        return benchmark

    def settle(self) -> Benchmark:
        """The resolved benchmark with such costs as the directory has; nothing is measured or written."""
        old = self.directory.benchmark() if self.directory.exists() else None
        if old is None and self.directory.trial_ids():
            raise errors.UserError(
                f"{self.directory.path} has trials but no benchmark.json: what they were run under is lost; "
                "put the file back, or choose another --out"
            )
        wanted = self._wanted(old)
        if old is not None:
            if old.smoke and wanted.smoke:
                old = self._renewed(old, wanted)
            _check_fixed(old, wanted, self.directory)
            for entrant in old.entrants:  # those that this command does not name run on too
                found = registry.file_sha256("submissions", entrant.source)
                if found != entrant.sha256:
                    raise _changed(entrant.name, entrant.source, entrant.sha256, found, self.directory)
            return self._extended(old, wanted)
        return wanted

    def _wanted(self, old: Benchmark | None) -> Benchmark:
        """The request as a benchmark without costs; a seed that was drawn for `old` is not drawn again."""
        request, file = self.request, self.request.benchmark
        sources = config.entrants(
            request.submissions
            if request.submissions is not None
            else [*file.submissions, *(f"{e.name}={e.source}" for e in file.entrant)]
        )
        if not sources:
            raise errors.UserError(f"benchmark {file.name} has no submissions; name some: --submissions nadamw,my.py")
        hashes = [self._compiled.submission(name, source).sha256 for name, source in sources.items()]
        seed = file.seed if request.seed is None else request.seed
        if old is not None and request.nonce is not None and request.nonce == old.nonce:
            seed = old.seed
        elif request.nonce is not None:
            seed = search.board_seed(hashes, file.version, request.nonce)
        studies = request.studies or file.studies
        if request.smoke:
            studies = 1
        workloads = self._workloads(request.workloads or file.workloads, seed if file.held_outs else None)
        entrants = [self._entrant(name, source, file.ruleset, seed, studies) for name, source in sources.items()]
        return Benchmark(
            name=file.name,
            source=request.source or file.name,
            version=file.version,
            ruleset=file.ruleset,
            reference_sha256=self._compiled.submission(REFERENCE, REFERENCE).sha256,
            seed=seed,
            nonce=request.nonce,
            studies=studies,
            points=max(len(study) for e in entrants for study in e.points),
            budget_factor=search.SELF_TUNING_FACTOR if file.ruleset == "self" else 1.0,
            mesh=request.mesh,
            driver="scan",
            smoke=request.smoke,
            run_past=file.run_past,
            paired=file.paired,
            workloads=workloads,
            entrants=entrants,
            costs={},
            manifest=environment.manifest(),
        )

    def _workloads(self, sources: list[str], held_out_seed: int | None) -> dict[str, records.WorkloadInfo]:
        """The named workloads, and one held-out variant of each family where a seed is given to draw it by."""
        loaded = {source: registry.load_workload(source) for source in sources}
        if held_out_seed is not None:
            candidates: dict[str, list[str]] = {}
            for source, workload in loaded.items():
                candidates.setdefault(workload.family, []).extend(registry.variants(source))
            without = [family for family, names in candidates.items() if not names]
            if without:
                raise errors.UserError(f"held_outs = true, and no workload of the family {without[0]!r} has VARIANTS")
            drawn = [s for s in search.held_outs(candidates, held_out_seed) if s not in loaded]
            loaded |= {source: registry.load_workload(source) for source in drawn}
        fetch.require(name for workload in loaded.values() for name in workload.data)
        infos = {w.name: self._workload_info(w, source) for source, w in loaded.items()}
        for workload in loaded.values():
            if workload.held_out_of in infos:  # alone, a variant is a workload like any other
                info = infos[workload.name]
                infos[workload.name] = msgspec.structs.replace(info, held_out_of=workload.held_out_of)
        return infos

    def _workload_info(self, workload, source: str) -> records.WorkloadInfo:
        target = workload.validation_target
        if math.isnan(target) and self.ranks:
            raise errors.UserError(f"workload {source} has no target yet\n  set it: algoperf-lite targets {source}")
        reference, where = dict(workload.reference), "target record"
        if not reference:
            reference, where = {}, "nadamw's DEFAULTS: the workload names no reference"
        mesh.check_batch(self._compiled.mesh, workload.name, workload.batch_size)
        never = UNREACHABLE if workload.direction == "max" else -UNREACHABLE
        names = ("version", "family", "tier", "metric", "direction")
        more = ("step_budget", "evaluations", "batch_size", "provisional", "seed_sd", "reference_steps")
        return records.WorkloadInfo(
            source=source,
            sha256=registry.file_sha256("workloads", source),
            reference=self._compiled.submission(REFERENCE, REFERENCE).resolve(reference),
            reference_source=where,
            validation_target=never if math.isnan(target) else target,
            test_target=never if math.isnan(workload.test_target) else workload.test_target,
            **{name: getattr(workload, name) for name in names + more},
        )

    def _entrant(self, name: str, source: str, ruleset: str, seed: int, studies: int) -> Entrant:
        submission = self._compiled.submission(name, source)
        points = submission.points(ruleset, seed, studies)
        return Entrant(
            name=name,
            source=source,
            sha256=submission.sha256,
            points=points,
            static=sorted({k for study in points for p in study for k in submission.static(p)}),
            untuned=ruleset == "external" and submission.SPACE is None,
            driver=submission.driver,
        )

    def _extended(self, old: Benchmark, wanted: Benchmark) -> Benchmark:
        """`old` with the entrants and studies that `wanted` adds; P18 notes what came later."""
        studies = max(old.studies, wanted.studies)
        if old.smoke:
            studies = old.studies
        known = {e.name for e in old.entrants}
        later = [e.name for e in wanted.entrants if e.name not in known]
        if studies == old.studies and not later:
            return old
        sources = {e.name: e.source for e in [*old.entrants, *wanted.entrants]}
        entrants = []
        for name, source in sources.items():
            entrant = self._entrant(name, source, old.ruleset, old.seed, studies)
            before = next((e for e in old.entrants if e.name == name), None)
            if before is not None:  # what has been drawn stays, whatever a new version of the sampler would draw
                points = [*before.points, *entrant.points[len(before.points) :]]
                entrant = msgspec.structs.replace(entrant, points=points)
            added = before.added if before else (records.utc()[:10] if self.directory.trial_ids() else None)
            entrants.append(msgspec.structs.replace(entrant, added=added))
        extension = records.Extension(
            date=records.utc()[:10],
            entrants=later,
            studies=studies - old.studies,
            sha256_before=self.directory.sha256(),
        )
        return msgspec.structs.replace(
            old,
            entrants=entrants,
            studies=studies,
            points=max(len(s) for e in entrants for s in e.points),
            extensions=[*old.extensions, extension] if self.directory.trial_ids() else old.extensions,
        )

    def _renewed(self, old: Benchmark, wanted: Benchmark) -> Benchmark:
        """A smoke board with its entrants' files as they are now: nothing in it is measured, and while it is run again
        and again its author is at work on them."""
        sources = {e.name: e.source for e in [*old.entrants, *wanted.entrants]}
        entrants, costs = [], dict(old.costs)
        for entrant in old.entrants:
            found = self._entrant(entrant.name, sources[entrant.name], old.ruleset, old.seed, old.studies)
            entrants.append(msgspec.structs.replace(found, added=entrant.added))
            if found.sha256 != entrant.sha256:
                costs.pop(entrant.name, None)  # its static hyperparameters may be others
        points = max(len(study) for e in entrants for study in e.points)
        return msgspec.structs.replace(old, entrants=entrants, costs=costs, points=points)

    def _drop_trials_of_changed_files(self, benchmark: Benchmark) -> None:
        if not self.directory.writer:  # another process would read what this one is removing
            return
        known = {(entrant.name, entrant.sha256) for entrant in benchmark.entrants}
        for id, spec in self.directory.trial_specs().items():
            if (spec.entrant, spec.submission_sha256) not in known:
                self.directory.trial(id).remove()

    def _costs(self, benchmark: Benchmark) -> dict[str, dict[str, dict[str, records.Cost]]]:
        costs = msgspec.to_builtins(benchmark.costs)
        missing = self._without_cost(benchmark)
        for name, entrant, _, hparams in () if benchmark.smoke else missing:  # refused before anything is timed
            try:
                self._compiled.programs(name, benchmark.workloads[name], entrant.name, entrant.source, hparams)
            except Exception as e:
                if not trial.is_out_of_memory(e):
                    raise
        for name, entrant, key, hparams in missing:
            if self._stop():
                raise KeyboardInterrupt
            row = costs.setdefault(entrant.name, {}).setdefault(name, {})
            row[key] = msgspec.to_builtins(self._cost(benchmark, name, entrant, hparams))
        return msgspec.convert(costs, dict[str, dict[str, dict[str, records.Cost]]])

    def _without_cost(self, benchmark: Benchmark) -> list[tuple[str, Entrant, str, dict[str, Any]]]:
        """(workload, entrant, static hyperparameters, a point that has them), each once, where no cost is known."""
        found = {}
        for name in benchmark.workloads:
            for entrant in benchmark.entrants:
                known = benchmark.costs.get(entrant.name, {}).get(name, {})
                for hparams in (p for study in entrant.points for p in study):
                    key = search.static_key(entrant, hparams)
                    if key not in known:
                        found.setdefault((name, entrant.name, key), (name, entrant, key, hparams))
        return list(found.values())

    def _cost(self, benchmark: Benchmark, name: str, entrant: Entrant, hparams: dict[str, Any]) -> records.Cost:
        info = benchmark.workloads[name]
        if benchmark.smoke:  # nothing is ranked: the trials are the first to need programs
            return cost.unmeasured(benchmark, info)
        self.tell("cost", workload=name, entrant=entrant.name)
        try:
            return cost.cost(
                self._compiled.programs(name, info, entrant.name, entrant.source, hparams),
                self._compiled.reference(name, info, entrant.driver),
                hparams,
                info.reference,
                benchmark.budget_factor,
                self.clock,
            )
        except Exception as e:
            if not trial.is_out_of_memory(e):
                raise
            # Each of its trials will run out of memory for itself, and say so in its outcome.
            return cost.unmeasured(benchmark, info)

    # -- running

    def missing(self, benchmark: Benchmark) -> list[TrialSpec]:
        """Trials without an outcome, and those whose failure is to be retried."""
        found = []
        for spec in search.trials(benchmark):
            outcome = self.directory.outcome(spec.id)
            if outcome is None or outcome.outcome in self.request.retry:
                found.append(spec)
        ids = set(environment.broadcast([s.id for s in found]))
        return [s for s in search.trials(benchmark) if s.id in ids]

    def run(self, benchmark: Benchmark) -> Iterator[tuple[TrialSpec, records.Outcome | None]]:
        """Runs all missing trials; yields each with its outcome, None where it was interrupted (and ends there)."""
        specs = self.missing(benchmark)
        self.tell("plan", benchmark=benchmark, missing=specs)
        board = self.directory.sha256()
        for spec in specs:
            folder = self.directory.trial(spec.id)
            if folder.outcome() is not None:
                folder.reset(attempts=True)
            environment.broadcast(None)  # no other process looks before the first one has cleared the folder
            self.tell("trial", spec=spec)
            folder.begin(spec, {**environment.manifest(), "benchmark_sha256": board})
            try:
                outcome = trial.run(self._job(benchmark, spec), folder, self.clock, self._listener(spec), self._stop)
            except errors.EnvironmentFault:
                raise
            except Exception as e:
                # A smoke board has compiled nothing before: the other entrants go on.
                refused = benchmark.smoke and isinstance(e, errors.UserError)
                if not refused and not trial.is_out_of_memory(e):
                    raise
                outcome = trial.failure(folder, e, environment.host_fingerprint())
                folder.finish(outcome)
            yield spec, outcome
            if outcome is None:
                return

    def _listener(self, spec: TrialSpec) -> trial.Listener:
        return lambda phase, event=None: self.tell(phase, spec=spec, event=event)

    def _stop(self) -> bool:
        return environment.anywhere(self.stop())

    def _job(self, benchmark: Benchmark, spec: TrialSpec) -> trial.Job:
        info = benchmark.workloads[spec.workload]
        entrant = next(e for e in benchmark.entrants if e.name == spec.entrant)
        costs = benchmark.costs[spec.entrant][spec.workload][search.static_key(entrant, spec.hparams)]
        return trial.Job(
            spec=spec,
            programs=self._compiled.programs(spec.workload, info, entrant.name, entrant.source, spec.hparams),
            reference=self._compiled.reference(spec.workload, info, spec.driver),
            reference_hparams=info.reference,
            build_s=costs.build_s,
            budget_factor=benchmark.budget_factor,
            run_past=benchmark.run_past,
            checkpoint_every_s=self.request.checkpoint_every_s,
            host=environment.host_fingerprint(),
            timed=not benchmark.smoke,
        )


def _check_fixed(old: Benchmark, wanted: Benchmark, directory: RunDirectory) -> None:
    """Refuses what would mix two boards in one directory; the message names both values."""
    version = old.manifest.get("algoperf_lite")
    pairs: list[tuple[str, Any, Any]] = [
        ("benchmark", f"{old.name} v{old.version}", f"{wanted.name} v{wanted.version}"),
        ("ruleset", old.ruleset, wanted.ruleset),
        ("seed", old.seed, wanted.seed),
        ("mesh", old.mesh, wanted.mesh),
        ("smoke", old.smoke, wanted.smoke),
        ("run_past", old.run_past, wanted.run_past),
        ("paired", old.paired, wanted.paired),
        ("algoperf-lite", version, __version__),
        ("file hash of the reference", old.reference_sha256[:12], wanted.reference_sha256[:12]),
    ]
    _refuse([("workloads", sorted(old.workloads), sorted(wanted.workloads))], directory)
    for name, info in wanted.workloads.items():
        before = old.workloads[name]
        pairs += [(f"workload {name} version", before.version, info.version)]
        pairs += [(f"workload {name} file hash", before.sha256[:12], info.sha256[:12])]
    _refuse(pairs, directory)
    for entrant in wanted.entrants:
        for before in old.entrants:
            if before.name == entrant.name and before.sha256 != entrant.sha256:
                raise _changed(entrant.name, entrant.source, before.sha256, entrant.sha256, directory)


def _refuse(pairs: list[tuple[str, Any, Any]], directory: RunDirectory) -> None:
    for what, there, asked in pairs:
        if there != asked:
            raise errors.UserError(
                f"{directory.path} has {what} {there}, this command asks for {asked}; "
                "repeat the command that began it, or choose another --out"
            )


def _changed(name: str, source: str, before: str, after: str, directory: RunDirectory) -> errors.UserError:
    return errors.UserError(
        f"{directory.path} has entrant {name} with file hash {before[:12]}, {source} now has {after[:12]}; "
        f"enter the changed file under a name of its own ({name}2={source}), or choose another --out"
    )
