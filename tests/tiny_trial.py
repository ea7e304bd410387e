"""The tiny workload as trials: programs compiled once a process, jobs, submissions written on the fly, a fake time."""

import dataclasses
import functools
import pathlib
import textwrap
from collections.abc import Callable

from algoperf_lite import engine, mesh, records, registry, storage, trial
from algoperf_lite.clock import Clock
from tests.assets import tiny

UNREACHABLE = 2.0


class FakeTime:
    """A time that stands still but for the programs that were made to take some of it."""

    def __init__(self):
        self.t = 0.0

    def __call__(self) -> float:
        return self.t

    def takes(self, seconds: float | Callable[[], float], program: Callable) -> Callable:
        """`program` that takes `seconds`, which may be drawn anew at each call."""

        def call(*args):
            self.t += seconds() if callable(seconds) else seconds
            return program(*args)

        return call


@functools.cache
def bench(devices: int = 1, **variant) -> engine.Bench:
    return engine.compile_bench(tiny.build(**variant), mesh.make({"data": devices, "fsdp": 1}))


@functools.cache
def programs(submission: str = "nadamw", devices: int = 1, **variant) -> engine.Programs:
    entry = registry.load_submission(submission)
    return engine.compile_programs(bench(devices, **variant), entry, entry.resolve({}))


def job(
    trained: engine.Programs,
    reference: engine.Programs | None = None,
    *,
    hparams: dict | None = None,
    seed: int = 7,
    step_cap: int | None = None,
    build_s: float = 0.0,
    checkpoint_every_s: float = 1e9,
    entrant: str | None = None,
    budget_factor: float = 1e6,
    **more,
) -> trial.Job:
    """A job of one trial. The default factor keeps P4's second stop away: the chunks last less than the noise."""
    workload = trained.bench.workload
    spec = records.TrialSpec(
        benchmark="tiny",
        benchmark_version=1,
        ruleset="self",
        workload="tiny",
        workload_version=1,
        entrant=entrant or trained.submission.name,
        submission_sha256=trained.submission.sha256,
        package_version="0",
        hparams=trained.submission.resolve(hparams or {}),
        seed=seed,
        study=0,
        trial=0,
        mesh={"data": 1, "fsdp": 1},
        driver="scan",
        step_cap=step_cap or workload.step_budget,
    )
    reference = reference or trained
    return trial.Job(
        spec=spec,
        programs=trained,
        reference=reference,
        reference_hparams=reference.submission.resolve({}),
        build_s=build_s,
        budget_factor=budget_factor,
        checkpoint_every_s=checkpoint_every_s,
        host="here",
        **more,
    )


def aimed(what: engine.Programs, **fields) -> engine.Programs:
    """The same programs with other numbers in the workload, such as its targets; nothing is compiled again."""
    workload = dataclasses.replace(what.bench.workload, **fields)
    return dataclasses.replace(what, bench=dataclasses.replace(what.bench, workload=workload))


def folder(path: pathlib.Path, what: trial.Job) -> storage.TrialFolder:
    """A trial's folder, begun."""
    found = storage.TrialFolder(path / what.spec.id)
    found.begin(what.spec, {})
    return found


def run(path: pathlib.Path, what: trial.Job, clock: Clock | None = None, **more):
    """(outcome, events) of one trial in a folder below `path`."""
    place = folder(path, what)
    outcome = trial.run(what, place, clock or Clock(), **more)
    return outcome, place.events()


def write_submission(path: pathlib.Path, body: str, name: str = "mine") -> str:
    """A submission file with the usual imports; returns its path."""
    head = "import jax\nimport jax.numpy as jnp\nimport numpy as np\nimport optax\n\nfrom algoperf_lite import spec\n\n"
    file = path / f"{name}.py"
    file.write_text(head + textwrap.dedent(body))
    return str(file)
