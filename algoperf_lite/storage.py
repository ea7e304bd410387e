"""The run directory: how its records are written, read back and resumed.

`benchmark.json` is the resolved benchmark, fixed before the first trial. Every trial has a folder of its own with
`trial.json` (identity), `events.jsonl` (one flushed line per evaluation) and `outcome.json`, written last and
atomically: its presence is the only meaning of "done". Nothing here imports JAX.
"""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from algoperf_lite import errors
from algoperf_lite.records import FORMAT, Attempt, Benchmark, Event, Outcome, TrialSpec, utc

_UMASK = os.umask(0o022)
os.umask(_UMASK)  # the only way to read it is to set it


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

        What a killed process had no time to remove goes now: only who holds the lock knows that nobody is writing it.

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
        self._sweep()

    def unlock(self) -> None:
        """Gives the directory back; one in which nothing was begun goes."""
        if self._lock is not None:
            if not self.exists():
                with contextlib.suppress(OSError):
                    (self.path / ".lock").unlink()
                    self.path.rmdir()
            self._lock.close()
            self._lock = None

    def _sweep(self) -> None:
        """Half-written files everywhere, and the checkpoints of finished trials."""
        with _disk(self.path):
            folders = [TrialFolder(p) for p in self.path.glob("trials/*/")]
            for path in [self.path, *(folder.path for folder in folders)]:
                for torn in path.glob(".*.json*-*"):  # as `_write` names them
                    torn.unlink(missing_ok=True)
            for folder in folders:
                if folder.done():
                    folder.drop_checkpoints()

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
        if not attempts or attempts[-1].events_sha256 == found:
            lost = 0.0  # killed while `--retry` forgot it all on purpose, or between the writes below: counted already
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

    def done(self) -> bool:
        """Whether there is an outcome, readable or not."""
        return (self.path / "outcome.json").exists()

    def outcome(self) -> Outcome | None:
        """The outcome, None while the trial is not done."""
        return _read(self.path / "outcome.json", Outcome) if self.done() else None

    def finish(self, outcome: Outcome) -> None:
        """Writes the outcome, last and atomically, and removes the checkpoint."""
        if not self.writer:
            return
        _write(self.path / "outcome.json", msgspec.json.format(msgspec.json.encode(outcome), indent=1))
        self.drop_checkpoints()  # last: killed between the two, the next holder of the lock does it

    def reset(self, *, attempts: bool = False) -> None:
        """Forgets the outcome and the work; with `attempts` also how often it was begun (`--retry`)."""
        if self.writer:
            if attempts:
                (self.path / "attempts.jsonl").unlink(missing_ok=True)
            self.drop_checkpoints()  # first: a checkpoint without its events would be gone on from
            (self.path / "outcome.json").unlink(missing_ok=True)
            (self.path / "events.jsonl").unlink(missing_ok=True)

    def remove(self) -> None:
        """The folder and all it holds."""
        if self.writer:
            self.reset(attempts=True)  # first: killed on the way, nothing is left that another start would go on from
            (self.path / "trial.json").unlink(missing_ok=True)
            shutil.rmtree(self.path, ignore_errors=True)

    def drop_checkpoints(self) -> None:
        """The small files that make a checkpoint whole go before the arrays."""
        for numbers in self.checkpoints.glob("*.json"):
            numbers.unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


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
