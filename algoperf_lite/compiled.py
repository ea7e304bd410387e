"""What a board has compiled: workloads and programs, each once, as many at a time as the kernel lets a process map."""

import dataclasses
import gc
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax

from algoperf_lite import engine, environment, records, registry
from algoperf_lite.submission import Submission

REFERENCE = "nadamw"

Key = tuple[str, str, str]  # workload, hash of the submission, static hyperparameters


class Compiled:
    """Submissions by source, workloads and programs by name, made at their first need.

    Args:
      tell: hears (phase, **facts) of what is compiled.
      hastily: compile for a few steps of which none is timed.
      crowded: whether programs must go before another is made.
    """

    def __init__(
        self,
        mesh: jax.sharding.Mesh,
        tell: Callable[..., None],
        *,
        hastily: bool = False,
        crowded: Callable[[], bool] = environment.crowded,
    ):
        self.mesh, self._tell, self._crowded = mesh, tell, crowded
        self._options = environment.hasty_options() if hastily else None
        self._submissions: dict[str, Submission] = {}
        self._benches: dict[str, engine.Bench] = {}
        self._programs: dict[Key, engine.Programs] = {}  # the latest used last
        self._compile_s: dict[Key, float] = {}  # of the first time: later ones are read from the compile cache

    def submission(self, name: str, source: str) -> Submission:
        """A submission's file, loaded."""
        if source not in self._submissions:
            self._submissions[source] = registry.load_submission(source, name=name)
        return self._submissions[source]

    def programs(
        self, name: str, info: records.WorkloadInfo, entrant: str, source: str, hparams: Mapping[str, Any]
    ) -> engine.Programs:
        """One compilation per (workload, submission file, static hyperparameters), while there is room for it."""
        submission = self.submission(entrant, source)
        key = (name, submission.sha256, json.dumps(submission.static(hparams), sort_keys=True))
        if key not in self._programs:
            self._make_room(name)
            if name not in self._benches:
                self._tell("data", workload=name)
                self._benches[name] = engine.compile_bench(registry.load_workload(info.source), self.mesh, self._options)
            self._tell("compile", workload=name, entrant=entrant)
            found = _compile(self._benches[name], submission, hparams)
            first = self._compile_s.setdefault(key, found.compile_s)
            self._programs[key] = dataclasses.replace(found, compile_s=first)
        self._programs[key] = self._programs.pop(key)
        return self._programs[key]

    def reference(self, name: str, info: records.WorkloadInfo, driver: str) -> engine.Programs:
        """The reference under an entrant's driver: each is measured against its like (P6)."""
        scanned = self.programs(name, info, REFERENCE, REFERENCE, info.reference)
        if driver == "scan":
            return scanned
        key = (name, scanned.submission.sha256, driver)
        if key not in self._programs:
            self._programs[key] = engine.dispatched(scanned, info.reference)
        return self._programs[key]

    def _make_room(self, name: str) -> None:
        """Programs come round in the same order again and again, so the latest used are those not needed for longest;
        the programs of the workload at hand go last."""
        while self._programs and environment.anywhere(self._crowded()):
            latest_first = list(reversed(self._programs))
            del self._programs[next((key for key in latest_first if key[0] != name), latest_first[0])]
            gc.collect()


def _compile(bench: engine.Bench, submission: Submission, hparams: Mapping[str, Any]) -> engine.Programs:
    """By the submission's driver (P6): of a native one, or of one of AlgoPerf's files."""
    if submission.driver == "scan":
        return engine.compile_programs(bench, submission, hparams)
    from algoperf_lite.adapters.algoperf import entry, programs

    assert isinstance(submission, entry.Entry)
    return programs.compile_programs(bench, submission, hparams)
