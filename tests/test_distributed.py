"""Two processes on one machine train as one process with two devices does, and only the first one writes."""

import contextlib
import json
import os
import socket
import subprocess
import sys

import msgspec
import pytest

from algoperf_lite import config, runner, storage, trial
from algoperf_lite.clock import Clock
from tests.conftest import ASSETS, subprocess_env

pytestmark = pytest.mark.slow

MAIN = [sys.executable, str(ASSETS / "drill_main.py"), "run", str(ASSETS / "tiny.toml")]


def _free_port():
    with contextlib.closing(socket.socket()) as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def _processes(out, *more):
    """Two processes run to their end: their (exit code, stdout, stderr)."""
    where = [f"--coordinator=localhost:{_free_port()}", "--num-processes=2", "--mesh=data=2", "--no-report"]
    processes = [
        subprocess.Popen(
            [*MAIN, f"--out={out}", *where, f"--process-id={i}", *more],
            env=subprocess_env(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        said = [p.communicate(timeout=150) for p in processes]
        return [(p.returncode, *texts) for p, texts in zip(processes, said, strict=True)]
    finally:
        for p in processes:
            p.kill()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(run directory, results of the two processes), after a first run and one that finds nothing to do."""
    out = tmp_path_factory.mktemp("distributed") / "two"
    return storage.RunDirectory(out), _processes(out)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The same board in this process, on two of its fake devices."""
    directory = storage.RunDirectory(tmp_path_factory.mktemp("distributed") / "one")
    request = runner.Request(config.load_benchmark(str(ASSETS / "tiny.toml")), {"data": 2, "fsdp": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "TIME_FACTOR", 1e9)
        whole = runner.Runner(request, directory, Clock())
        outcomes = [outcome for _, outcome in whole.run(whole.resolve())]
    assert [o.outcome for o in outcomes] == ["target_reached"] * 4
    return directory


def test_two_processes_end_well_and_the_second_says_nothing(two):
    _, ((code, out, err), (other_code, other_out, other_err)) = two
    assert (code, other_code) == (0, 0), err + other_err
    assert "[4/4]" in out
    own = [line for line in other_out.splitlines() if not line.startswith("[Gloo]")]
    assert (own, other_err) == ([], "")


def test_two_processes_train_to_the_losses_of_one(two, one):
    directory, _ = two
    assert directory.trial_ids() == one.trial_ids()
    assert len(directory.trial_ids()) == 4
    for name in directory.trial_ids():
        ours, theirs = directory.events(name), one.events(name)
        assert [e.step for e in ours] == [e.step for e in theirs]
        assert [e.train_loss for e in ours] == pytest.approx([e.train_loss for e in theirs], rel=1e-5)
        assert directory.outcome(name).step == one.outcome(name).step


def test_two_processes_write_one_run_directory_once(two):
    directory, _ = two
    found = sorted(str(p.relative_to(directory.path)) for p in directory.path.rglob("*") if p.is_file())
    files = ["attempts.jsonl", "events.jsonl", "outcome.json", "trial.json"]
    assert found == sorted([".lock", "benchmark.json", *(f"trials/{i}/{f}" for i in directory.trial_ids() for f in files)])
    for name in directory.trial_ids():
        folder = directory.trial(name)
        assert len(folder.attempts()) == 1
        assert len(folder.events()) == len({e.step for e in folder.events()})
        assert folder.manifest()["processes"] == 2
    assert json.loads((directory.path / "benchmark.json").read_text())["mesh"] == {"data": 2, "fsdp": 1}
    assert directory.running() is None
    assert os.listdir(directory.path.parent).count("two") == 1


def test_two_processes_retry_a_failed_trial_together(two, one, tmp_path):
    """The outcome that process 0 clears must not be read by process 1."""
    directory, _ = two
    name = directory.trial_ids()[0]
    whole = directory.outcome(name)
    directory.trial(name).finish(msgspec.structs.replace(whole, outcome="error", step=None))
    (code, out, err), (other, *_) = _processes(directory.path, "--retry=error")
    assert (code, other) == (0, 0), err
    assert "1 trial to run" in out
    assert directory.outcome(name).step == whole.step
