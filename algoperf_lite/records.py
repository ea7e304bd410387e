"""The run directory: what is written, and how it is read back and resumed.

`benchmark.json` is the resolved benchmark, fixed before the first trial. Every trial has a folder of its own with
`trial.json` (identity), `events.jsonl` (one flushed line per evaluation) and `outcome.json`, written last and
atomically: its presence is the only meaning of "done". Nothing here imports JAX.
"""

import contextlib
import datetime
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from algoperf_lite import errors

FORMAT = 3  # 1 knew no held-out workloads, 2 one driver for all entrants
_UMASK = os.umask(0o022)
os.umask(_UMASK)  # the only way to read it is to set it
Outcomes = Literal["target_reached", "budget_exhausted", "time_exhausted", "diverged", "out_of_memory", "error"]
FAILED = ("error", "out_of_memory")


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frozen record; a field that the version at hand does not know is an error, never dropped."""


class WorkloadInfo(Struct, frozen=True, kw_only=True):
    """What scoring must know of a workload, without importing it."""

    source: str  # name or path that the registry loads
    sha256: str = ""  # of the workload's file
    version: int
    family: str
    tier: str
    metric: str
    direction: str
    validation_target: float
    test_target: float
    step_budget: int
    evaluations: int
    batch_size: int
    provisional: bool
    seed_sd: float  # of the final metric over seeds (P12); 0 where unknown
    reference: dict[str, float]  # hyperparameters of `nadamw` in the target record
    reference_steps: float  # its frozen median time to the target (P15); 0 where unknown
    reference_source: str  # "target record", or why another setting stands in
    held_out_of: str | None = None  # name of the base workload, where that is on the board

    @property
    def interval(self) -> int:
        """Steps between evaluations."""
        return self.step_budget // self.evaluations


class Entrant(Struct, frozen=True, kw_only=True):
    """A named submission on a board."""

    name: str
    source: str
    sha256: str
    points: list[list[dict[str, Any]]]  # complete hyperparameters by study and trial
    static: list[str] = []  # names of the static ones among them
    untuned: bool = False  # external ruleset without a SPACE: DEFAULTS once per study
    driver: str = "scan"  # "dispatch" for files that make their steps themselves (P6)
    added: str | None = None  # UTC date, for entrants that came after the first trial (P18)


class Cost(Struct, frozen=True, kw_only=True):
    """P2 and P4, for one (entrant, workload, static hyperparameters)."""

    factor: float
    build_s: float  # charged to every trial, seconds
    step_cap: int
    compile_s: float
    blocks: int  # interleaved ABBA blocks behind `factor`; 0 where it is 1 by definition
    reference_step_s: float


class Extension(Struct, frozen=True, kw_only=True):
    """Entrants or studies that were added to a board after its start."""

    date: str
    entrants: list[str]
    studies: int
    sha256_before: str


class Benchmark(Struct, frozen=True, kw_only=True):
    """`benchmark.json`: the resolved benchmark."""

    format: int = FORMAT
    name: str
    source: str = ""  # name or path by which the benchmark file was given
    version: int
    ruleset: Literal["external", "self"]
    reference_sha256: str = ""  # of the reference's file: the unit of charged time
    seed: int
    nonce: str | None = None  # what the seed was drawn with (P11); None where it was given
    studies: int
    points: int  # per study, at most
    budget_factor: float  # of the ruleset: 1 external, 1.5 self-tuning
    mesh: dict[str, int]
    driver: str  # of the reference, and of entrants that name no other
    smoke: bool
    run_past: bool
    paired: bool  # verdicts pair entrants by common seeds (P17), declared in the benchmark file
    workloads: dict[str, WorkloadInfo]
    entrants: list[Entrant]
    costs: dict[str, dict[str, dict[str, Cost]]]  # entrant -> workload -> static hyperparameters as JSON
    extensions: list[Extension] = []
    manifest: dict[str, Any] = {}

    @property
    def development(self) -> bool:
        """Author seeds are 0-999 (P11)."""
        return self.seed < 1000


class TrialSpec(Struct, frozen=True, kw_only=True):
    """`trial.json` without its manifest: the identity of a trial. Its hash is the trial's id."""

    benchmark: str
    benchmark_version: int
    ruleset: str
    workload: str
    workload_version: int
    entrant: str
    submission_sha256: str
    package_version: str
    hparams: dict[str, Any]
    seed: int  # of the trial: initial parameters, data order, dropout; shared by all entrants (P11)
    study: int
    trial: int
    mesh: dict[str, int]
    driver: str
    step_cap: int

    @property
    def id(self) -> str:
        """16 hexadecimal digits: hash of the content, in sorted order."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]


class Event(Struct, frozen=True, kw_only=True):
    """One line of `events.jsonl`: one evaluation.

    `submission_time_s` and `reference_steps` include this evaluation's own charge and the build charge, never those of
    earlier evaluations (P2). `reference_steps` uses the reference block before the evaluation; the outcome holds the
    interpolated value (P5).
    """

    step: int
    examples: int
    train_time_s: float  # optimizer init and steps alone
    eval_charge_s: float  # eval_params and batch statistics of this evaluation
    submission_time_s: float
    reference_steps: float
    eval_time_s: float  # uncharged
    train_loss: float | None  # mean of the steps since the last evaluation; null where not finite
    eval_train: dict[str, float | None]
    validation: dict[str, float | None]
    test: dict[str, float | None] | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """`outcome.json`. `time_s`, `reference_steps`, `step` are those of the first hit, null without one."""

    outcome: Outcomes
    step: int | None
    time_s: float | None
    reference_steps: float | None
    last_step: int
    charged_s: float  # to the hit, else to the end
    charged_reference_steps: float
    best: float | None  # best validation metric seen
    test: float | None  # test metric at the hit, else at the end
    test_missed: bool  # a hit that misses the test target by over 2 standard errors (P10)
    reference_blocks: list[tuple[int, float]]  # (step, seconds per reference step)
    drift: float  # max/min of the block medians - 1
    noisy: bool  # drift over 15 %
    build_s: float
    init_s: float
    compilations_while_charged: int
    preemptions: int
    lost_s: float
    restarts: int
    wall_s: float
    load_average: float
    host: str  # fingerprint, not a name
    message: str = ""  # traceback or reason


# ------------------------------------------------------------------------------------------------ on disk


class RunDirectory:
    """A run directory; reading takes no lock and locks nobody out.

    Args:
      path: the directory, created by the first write.
      writer: False on all processes but the first: every write is then left to that one.
    """

    def __init__(self, path: str | os.PathLike, *, writer: bool = True):
        self.path = pathlib.Path(path)
        self.writer = writer
        self._lock: Any = None

    def exists(self) -> bool:
        """Whether a resolved benchmark lies there."""
        return (self.path / "benchmark.json").is_file()

    def benchmark(self) -> Benchmark:
        """The resolved benchmark.

        Raises:
          UserError: no run directory, unreadable file, or written by a newer version.
        """
        path = self.path / "benchmark.json"
        if not path.is_file():
            if not self.path.exists():
                raise errors.UserError(f"{self.path} does not exist; accepted: a run directory, such as runs/demo")
            inside = sorted(p.parent for p in self.path.glob("*/benchmark.json"))
            near = f"; did you mean {inside[0]}?" if inside else ""
            raise errors.UserError(f"{self.path} is no run directory: it has no benchmark.json{near}")
        raw = _read(path, dict)
        if raw.get("format", 0) > FORMAT:
            raise errors.UserError(
                f"{path}: written in format {raw['format']}, this version reads up to {FORMAT}; upgrade algoperf-lite"
            )
        return _read(path, Benchmark)

    def sha256(self) -> str:
        """Hash of `benchmark.json` as it lies there; every trial's manifest holds that of its own time (P18)."""
        path = self.path / "benchmark.json"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""

    def write_benchmark(self, benchmark: Benchmark) -> None:
        """Atomic."""
        if self.writer:
            _write(self.path / "benchmark.json", msgspec.json.format(msgspec.json.encode(benchmark), indent=1))

    def trial(self, trial_id: str) -> "TrialFolder":
        """The folder of one trial."""
        return TrialFolder(self.path / "trials" / trial_id, writer=self.writer)

    def trial_ids(self) -> list[str]:
        """Ids of all trials begun, sorted."""
        return sorted(p.parent.name for p in self.path.glob("trials/*/trial.json"))

    def trial_specs(self) -> dict[str, TrialSpec]:
        """Identities of all trials begun, by id."""
        return {i: self.trial(i).spec() for i in self.trial_ids()}

    def manifest(self, trial_id: str) -> dict[str, Any]:
        """Versions, devices and host of a trial."""
        return self.trial(trial_id).manifest()

    def events(self, trial_id: str) -> list[Event]:
        """Evaluations of a trial; a torn last line is left out."""
        return self.trial(trial_id).events()

    def outcome(self, trial_id: str) -> Outcome | None:
        """The outcome, None while the trial is not done."""
        return self.trial(trial_id).outcome()

    def lock(self) -> None:
        """Takes the directory for this process until it ends; the kernel frees it even after SIGKILL.

        Raises:
          UserError: another process is running here.
        """
        if not self.writer:
            return
        with _disk(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            handle = open(self.path / ".lock", "a+")  # noqa: SIM115 - held open for the life of the process
        try:
            _flock(handle)
        except OSError as e:
            handle.seek(0)
            holder = handle.read().strip()
            handle.close()
            raise errors.UserError(
                f"{self.path} is being run by another process ({holder or 'unknown'}); "
                f"wait for it, watch it with `algoperf-lite status {self.path}`, or choose another --out"
            ) from e
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}, since {utc()}")
        handle.flush()
        self._lock = handle

    def unlock(self) -> None:
        """Gives the directory back; one in which nothing was begun goes."""
        if self._lock is not None:
            if not self.exists():
                with contextlib.suppress(OSError):
                    (self.path / ".lock").unlink()
                    self.path.rmdir()
            self._lock.close()
            self._lock = None

    def running(self) -> str | None:
        """Who holds the lock, or None."""
        try:
            with open(self.path / ".lock") as handle:
                try:
                    fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    return handle.read().strip() or "unknown process"
        except OSError:
            return None
        return None


class Attempt(Struct, frozen=True, kw_only=True):
    """One line of `attempts.jsonl`: a start of the trial, from scratch or from a checkpoint."""

    started: str
    step: int
    lost_s: float  # charged seconds of evaluated steps that will be redone
    host: str
    repeated: bool = False  # started over by P7, since over 10 % of its work had been redone
    events_sha256: str = ""  # of `events.jsonl` as it was found, so that a loss is counted once


class TrialFolder:
    """Files of one trial."""

    def __init__(self, path: pathlib.Path, *, writer: bool = True):
        self.path = path
        self.writer = writer

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the checkpoint."""
        return self.path / "ckpt"

    def begin(self, spec: TrialSpec, manifest: dict[str, Any]) -> None:
        """Writes `trial.json` unless it is there."""
        path = self.path / "trial.json"
        if self.writer and not path.exists():
            payload = {**msgspec.to_builtins(spec), "manifest": manifest}
            _write(path, msgspec.json.format(msgspec.json.encode(payload), indent=1))

    def spec(self) -> TrialSpec:
        """Identity of the trial."""
        raw = _read(self.path / "trial.json", dict)
        raw.pop("manifest", None)
        try:
            return msgspec.convert(raw, TrialSpec)
        except msgspec.ValidationError as e:
            raise errors.UserError(f"{self.path / 'trial.json'}: {e}; move the folder away and run again") from e

    def manifest(self) -> dict[str, Any]:
        """Versions, devices and host."""
        return _read(self.path / "trial.json", dict).get("manifest", {})

    def events(self) -> list[Event]:
        """Evaluations so far; a torn last line is left out."""
        return _read_lines(self.path / "events.jsonl", Event)

    def attempts(self) -> list[Attempt]:
        """Starts of the trial so far."""
        return _read_lines(self.path / "attempts.jsonl", Attempt)

    def attempt(self, step: int, train_time_s: float, host: str, *, repeated: bool = False) -> None:
        """Notes a start at a step; evaluations after it are dropped and their charge is counted as lost."""
        if not self.writer:
            return
        events, attempts = self.events(), self.attempts()
        path = self.path / "events.jsonl"
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
        lost = events[-1].train_time_s - train_time_s if events and events[-1].step > step else 0.0
        if attempts and attempts[-1].events_sha256 == found:
            lost = 0.0  # killed between the two writes below: the last attempt has counted it
        attempts.append(Attempt(started=utc(), step=step, lost_s=lost, host=host, repeated=repeated, events_sha256=found))
        _write(self.path / "attempts.jsonl", b"".join(msgspec.json.encode(a) + b"\n" for a in attempts))
        _write(path, b"".join(msgspec.json.encode(e) + b"\n" for e in events if e.step <= step))

    def append(self, event: Event) -> None:
        """Adds one evaluation, flushed to the disk."""
        if not self.writer:
            return
        with _disk(self.path), open(self.path / "events.jsonl", "ab") as handle:
            handle.write(msgspec.json.encode(event) + b"\n")
            handle.flush()
            os.fsync(handle.fileno())

    def outcome(self) -> Outcome | None:
        """The outcome, None while the trial is not done."""
        path = self.path / "outcome.json"
        return _read(path, Outcome) if path.exists() else None

    def finish(self, outcome: Outcome) -> None:
        """Writes the outcome, last and atomically, and removes the checkpoint."""
        if not self.writer:
            return
        _write(self.path / "outcome.json", msgspec.json.format(msgspec.json.encode(outcome), indent=1))
        self._drop_checkpoints()

    def reset(self, *, attempts: bool = False) -> None:
        """Forgets the outcome and the work; with `attempts` also how often it was begun (`--retry`)."""
        if self.writer:
            if attempts:
                (self.path / "attempts.jsonl").unlink(missing_ok=True)
            self._drop_checkpoints()  # first: a checkpoint without its events would be gone on from
            (self.path / "outcome.json").unlink(missing_ok=True)
            (self.path / "events.jsonl").unlink(missing_ok=True)

    def remove(self) -> None:
        """The folder and all it holds."""
        if self.writer:
            (self.path / "trial.json").unlink(missing_ok=True)  # first: without it the folder is no trial
            shutil.rmtree(self.path, ignore_errors=True)

    def _drop_checkpoints(self) -> None:
        """The small files that make a checkpoint whole go before the arrays."""
        for numbers in self.checkpoints.glob("*.json"):
            numbers.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


def utc() -> str:
    """Now, as ISO 8601 in UTC."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flock(handle: Any, patience_s: float = 0.5) -> None:
    """An exclusive lock; waits a moment, since `status` tries the lock for an instant to see who holds it."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def _disk(path: pathlib.Path) -> Iterator[None]:
    """A disk fault is the machine's: exit code 3, and the trial has no outcome."""
    try:
        yield
    except OSError as e:
        raise errors.EnvironmentFault(
            f"cannot write under {path}: {e.strerror or e}; free or mend the disk and run the same command again"
        ) from e


def _write(path: pathlib.Path, payload: bytes) -> None:
    """Temporary file, fsync, rename: a reader sees the old content or the new."""
    with _disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as handle:
                handle.write(payload)
                handle.flush()
                os.fsync(handle.fileno())
            os.chmod(name, 0o666 & ~_UMASK)  # mkstemp keeps files to oneself; a run directory is there to be shared
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise


def _read(path: pathlib.Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError as e:
        raise errors.UserError(f"{path} is missing; the run directory is damaged: move it away and run again") from e
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise errors.UserError(
            f"{path} cannot be read: {e}; written by another version or damaged: move it away and run again"
        ) from e


def _read_lines(path: pathlib.Path, kind: Any) -> list[Any]:
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            records.append(msgspec.json.decode(line, type=kind))
        except msgspec.MsgspecError as e:
            if number == len(lines):
                break  # torn by a kill while it was written: the evaluation is done again
            raise errors.UserError(f"{path}:{number}: cannot be read: {e}; move the trial's folder away") from e
    return records
