"""The run directory: what a kill, a full disk or another version may leave there, and how it is read."""

import errno
import os
import re
import signal
import subprocess
import sys

import msgspec
import pytest

from algoperf_lite import errors, records, storage
from tests import synthetic_run
from tests.conftest import ASSETS, subprocess_env


def _event(step, **fields):
    known = {
        "step": step,
        "examples": 16 * step,
        "train_time_s": 0.1 * step,
        "eval_charge_s": 0.0,
        "submission_time_s": 0.1 * step,
        "reference_steps": 1.0 * step,
        "eval_time_s": 0.01,
        "train_loss": 1.0,
        "eval_train": {"accuracy": 0.5},
        "validation": {"accuracy": 0.5},
    }
    return records.Event(**{**known, **fields})


@pytest.fixture
def folder(tmp_path):
    found = storage.TrialFolder(tmp_path / "trial")
    found.attempt(0, 0.0, "here")
    for step in (8, 16, 24):
        found.append(_event(step))
    return found


# --------------------------------------------------------------------------------------------------------- lines


def test_events_come_back_as_they_were_written(folder):
    assert folder.events() == [_event(s) for s in (8, 16, 24)]
    nan = float("nan")
    folder.append(_event(32, validation={"accuracy": nan}))
    assert folder.events()[-1].validation == {"accuracy": None}


def test_torn_last_line_is_left_out_wherever_it_was_torn(folder):
    path = folder.path / "events.jsonl"
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) - 1):
        path.write_bytes(whole[:end])
        assert [e.step for e in folder.events()] == [8, 16]
    path.write_bytes(whole[: last + 20] + b"\x00\x00\xff")
    assert [e.step for e in folder.events()] == [8, 16]


def test_attempt_after_a_torn_line_drops_it_and_later_events_and_counts_what_is_lost(folder):
    with open(folder.path / "events.jsonl", "ab") as handle:
        handle.write(b'{"step":32,"exa')
    folder.attempt(8, 0.8, "there")
    folder.append(_event(16))
    assert [e.step for e in folder.events()] == [8, 16]
    first, second = folder.attempts()
    assert (first.step, first.lost_s, first.host) == (0, 0.0, "here")
    assert (second.step, second.host) == (8, "there")
    assert second.lost_s == pytest.approx(1.6)


@pytest.mark.parametrize("damage", [b'{"step":16,"exa', b"\x00\x00", b"[]", b'{"step":16}'])
def test_damaged_middle_line_is_named_by_file_and_line(damage, folder):
    path = folder.path / "events.jsonl"
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    with pytest.raises(errors.UserError, match=re.escape(f"{path}:2: cannot be read")):
        folder.events()


def test_unknown_field_of_an_event_is_refused_not_dropped(folder):
    path = folder.path / "events.jsonl"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(first[:-1] + b',"colour":1}\n' + rest)
    with pytest.raises(errors.UserError, match=r"events\.jsonl:1.*colour"):
        folder.events()


def test_trial_of_a_process_that_does_not_write_leaves_no_file(tmp_path):
    folder = storage.TrialFolder(tmp_path / "trial", writer=False)
    folder.attempt(0, 0.0, "here")
    folder.append(_event(8))
    folder.reset()
    storage.RunDirectory(tmp_path / "run", writer=False).write_benchmark(synthetic_run.benchmark())
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------------------- benchmark


@pytest.fixture
def directory(tmp_path):
    found = storage.RunDirectory(tmp_path / "run")
    found.write_benchmark(synthetic_run.benchmark())
    return found


def _edited(directory, **fields):
    path = directory.path / "benchmark.json"
    path.write_bytes(msgspec.json.encode({**msgspec.json.decode(path.read_bytes()), **fields}))
    return path


def test_benchmark_comes_back_as_it_was_written(directory):
    assert directory.exists()
    assert directory.benchmark() == synthetic_run.benchmark()
    assert directory.running() is None


def test_benchmark_with_an_unknown_field_is_refused(directory):
    path = _edited(directory, colour="red")
    with pytest.raises(errors.UserError, match=f"{path} cannot be read.*colour"):
        directory.benchmark()


def test_benchmark_of_a_newer_format_is_refused_with_both_numbers(directory):
    path = _edited(directory, format=records.FORMAT + 1, colour="red")
    known = records.FORMAT
    message = f"{path}: written in format {known + 1}, this version reads up to {known}; upgrade"
    with pytest.raises(errors.UserError, match=message):
        directory.benchmark()


def test_folder_without_a_benchmark_is_no_run_directory(tmp_path):
    with pytest.raises(errors.UserError, match="is no run directory"):
        storage.RunDirectory(tmp_path).benchmark()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_damaged_benchmark_is_one_message_with_the_file(content, directory):
    path = directory.path / "benchmark.json"
    path.write_bytes(content)
    with pytest.raises(errors.UserError, match=str(path)):
        directory.benchmark()


# ---------------------------------------------------------------------------------------------------- atomic writes


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_write_that_fails_leaves_the_old_file_whole_and_no_other(broken, directory, monkeypatch):
    path = directory.path / "benchmark.json"
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, broken, full)
    with pytest.raises(errors.EnvironmentFault, match="No space left on device"):
        directory.write_benchmark(synthetic_run.benchmark(studies=9))
    assert path.read_bytes() == before
    assert [p.name for p in directory.path.iterdir()] == ["benchmark.json"]


# ---------------------------------------------------------------------------------------------------------- kills

SCENES = ["fresh", "killed late", "finished", "retried"]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """What was left by one life killed at each of its file operations, and by the life after it; by scene."""
    command = [sys.executable, str(ASSETS / "kill_points.py"), str(tmp_path_factory.mktemp("kills"))]
    env = subprocess_env(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")  # it forks, which is for processes of one thread
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = {}
    for line in done.stdout.splitlines():
        row = msgspec.json.decode(line)
        found.setdefault(row["scene"], []).append(row)
    return found


@pytest.mark.parametrize("scene", SCENES)
def test_trial_killed_at_any_file_operation_is_whole_after_the_next_start(scene, killed):
    trial = [f"trials/ID/{name}" for name in ("attempts.jsonl", "events.jsonl", "outcome.json", "trial.json")]
    assert len(killed[scene]) > 1
    for row in killed[scene]:
        assert row["files"] == [".lock", "benchmark.json", *trial], row
        assert row["whole"], row
        assert row["events"], row
        assert row["outcome"], row


@pytest.mark.parametrize("scene", SCENES)
def test_charge_lost_in_a_kill_at_any_file_operation_is_counted_once(scene, killed):
    step_s = synthetic_run.INTERVAL * synthetic_run.STEP_S
    for row in killed[scene]:
        assert row["lost_s"] == pytest.approx(row["redone"] * step_s), row


def test_kills_lose_work_in_every_scene_that_has_some(killed):
    assert {scene: max(row["redone"] for row in rows) for scene, rows in killed.items()} == {
        "fresh": 2,
        "killed late": 3,  # one by the first kill, two by the second
        "finished": 0,
        "retried": 2,
    }


# ----------------------------------------------------------------------------------------------------------- lock

HOLD = """
import sys, time
from algoperf_lite import storage
directory = storage.RunDirectory(sys.argv[1])
directory.lock()
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of `tmp_path / "run"`."""
    env = subprocess_env()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_locked_directory_refuses_a_second_process_and_names_the_first(holder, tmp_path):
    second = storage.RunDirectory(tmp_path / "run")
    with pytest.raises(errors.UserError, match=f"being run by another process .process {holder.pid}, since 20"):
        second.lock()
    assert f"process {holder.pid}" in second.running()


def test_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    directory = storage.RunDirectory(tmp_path / "run")
    assert directory.running() is None
    directory.lock()
    assert f"process {os.getpid()}" in directory.running()
    directory.unlock()
    assert directory.running() is None
    directory.lock()
    directory.unlock()


def test_lock_of_a_process_that_does_not_write_is_none(tmp_path):
    storage.RunDirectory(tmp_path / "run", writer=False).lock()
    assert list(tmp_path.iterdir()) == []


def test_directory_in_which_nothing_was_begun_goes_with_its_lock(tmp_path):
    empty = storage.RunDirectory(tmp_path / "a" / "run")
    empty.lock()
    empty.unlock()
    assert not empty.path.exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "mine.txt").write_text("x")
    kept = storage.RunDirectory(tmp_path / "kept")
    kept.lock()
    kept.unlock()
    assert (kept.path / "mine.txt").is_file()
