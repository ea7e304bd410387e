"""Kill drills (P7): SIGKILL at random moments, the same command again, and the bits of a run that nobody disturbed."""

import random
import shutil
import subprocess
import sys
import time

import msgspec
import pytest

from algoperf_lite import storage
from tests.conftest import ASSETS, subprocess_env

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, str(ASSETS / "drill_main.py"), "run", str(ASSETS / "drill.toml")]
EVENT_TIMES = {"train_time_s", "eval_charge_s", "submission_time_s", "reference_steps", "eval_time_s"}
OUTCOME_BITS = ("outcome", "step", "last_step", "best", "test", "test_missed", "compilations_while_charged", "host")


def _start(out):
    """The process, once its first trial is due."""
    process = subprocess.Popen(
        [*COMMAND, f"--out={out}", "--checkpoint-every=0", "--no-report"],
        env=subprocess_env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    for line in process.stdout:
        said.append(line)
        if " to run" in line:  # "1 trial" or "4 trials"
            return process
    raise AssertionError(f"ended with {process.wait()}: {''.join(said)}")


def _end(process):
    said = process.stdout.read()
    assert process.wait(timeout=60) == 0, said
    process.stdout.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """(run directory, seconds from its first trial to its end)."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    process = _start(out)
    began = time.monotonic()
    _end(process)
    return storage.RunDirectory(out), time.monotonic() - began


def _bits(directory, name):
    events = [{k: v for k, v in msgspec.to_builtins(e).items() if k not in EVENT_TIMES} for e in directory.events(name)]
    outcome = directory.outcome(name)
    return events, {field: getattr(outcome, field) for field in OUTCOME_BITS}


class _Watch:
    """What the disk says of every trial after each end of a process, and what must follow from it."""

    def __init__(self, directory, names):
        self.directory, self.names = directory, names
        self.attempts = dict.fromkeys(names, 0)
        self.hits = dict.fromkeys(names, 0)  # kills that fell into the trial
        self.lost = dict.fromkeys(names, 0.0)
        self.events = dict.fromkeys(names, ())
        self.outcomes = {}

    def look(self):
        for name in self.names:
            folder = self.directory.trial(name)
            attempts, done = folder.attempts(), folder.outcome()
            assert self.outcomes.setdefault(name, done) in (None, done), "a finished trial was touched"
            for i, attempt in enumerate(attempts):
                # A start that was killed before it dropped the evaluations is followed by one that finds the same file.
                again = i and attempt.events_sha256 == attempts[i - 1].events_sha256
                if i >= self.attempts[name] and not attempt.repeated and not again:
                    self.lost[name] += self._redone(name, attempt.step)
            if done is None:
                self.hits[name] += len(attempts) > self.attempts[name]
                self.outcomes.pop(name)
            self.attempts[name], self.events[name] = len(attempts), tuple(folder.events())

    def _redone(self, name, step):
        """Charged seconds on the disk after a step."""
        at = [e.train_time_s for e in self.events[name] if e.step == step]
        return max(self.events[name][-1].train_time_s - (at[0] if at else 0.0), 0.0) if self.events[name] else 0.0


def _round(undisturbed, out, most_kills):
    whole, seconds = undisturbed
    out.mkdir()
    shutil.copy(whole.path / "benchmark.json", out)  # the caps hang on measured costs, which are resolved once
    directory, names = storage.RunDirectory(out), whole.trial_ids()
    watch, delays = _Watch(directory, names), []
    for kill in range(most_kills + 1):
        process = _start(out)
        if kill < most_kills:
            delays.append(random.SystemRandom().uniform(0, 1.2 * seconds))
            time.sleep(delays[-1])
            process.kill()
            process.wait()
            process.stdout.close()
        else:
            _end(process)
        watch.look()
        if all(directory.outcome(n) for n in names):
            _end(_start(out))  # a kill may have left what only the next start removes
            break
    context = f"killed after {delays} s"
    assert directory.trial_ids() == names, context
    for name in names:
        assert _bits(directory, name) == _bits(whole, name), context
        outcome, attempts = directory.outcome(name), directory.trial(name).attempts()
        repeated = sum(a.repeated for a in attempts)
        assert outcome.preemptions == watch.hits[name] == len(attempts) - 1 - repeated, context
        assert outcome.restarts == sum(a.step == 0 for a in attempts[1:]), context
        assert outcome.lost_s == pytest.approx(sum(a.lost_s for a in attempts)), context
        if not repeated:
            assert outcome.lost_s == pytest.approx(watch.lost[name]), context
        assert not directory.trial(name).checkpoints.exists(), context


@pytest.mark.parametrize("number", range(3))
def test_killed_run_resumes_to_the_bits_of_an_undisturbed_one(number, undisturbed, tmp_path):
    _round(undisturbed, tmp_path / "run", most_kills=1 if number else 2)


@pytest.mark.long
@pytest.mark.parametrize("number", range(20))
def test_run_killed_many_times_resumes_to_the_bits_of_an_undisturbed_one(number, undisturbed, tmp_path):
    _round(undisturbed, tmp_path / "run", most_kills=5)


def test_finished_run_has_nothing_left_to_do(undisturbed):
    whole, _ = undisturbed
    before = {p: p.stat().st_mtime_ns for p in whole.path.rglob("*.json*")}
    done = subprocess.run(
        [*COMMAND, f"--out={whole.path}", "--no-report"], env=subprocess_env(), capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "0 trials to run" in done.stdout
    assert {p: p.stat().st_mtime_ns for p in whole.path.rglob("*.json*")} == before
