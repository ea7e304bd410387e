"""One trial's life on the disk, killed by SIGKILL before each of its file operations in turn, then lived to its end.

`python kill_points.py FOLDER` prints one JSON line per kill: what the directory holds after the last life. It forks, so
nothing here imports JAX; the folder of a checkpoint has the files that `algoperf_lite.checkpoint` writes, in their order.
"""

import itertools
import json
import os
import pathlib
import signal
import sys
import time

import msgspec

from algoperf_lite import search, storage
from tests import synthetic_run

CHANGES = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree", "os.chmod"}
BENCHMARK = synthetic_run.benchmark(entrants=("nadamw",), workloads=("digits",), studies=1)
(SPEC,) = search.trials(BENCHMARK)
EVENTS = [msgspec.structs.replace(e, eval_time_s=0.0) for e in synthetic_run.events(SPEC, 4)]
OUTCOME = synthetic_run.outcome(EVENTS, 4)
STEPS = [e.step for e in EVENTS]
CHECKPOINT = STEPS[1]


class Killer:
    """Kills this process before its file operation of that number; None never."""

    def __init__(self, number):
        self.left = number
        if number is not None:
            sys.addaudithook(self)

    def __call__(self, event, args):
        if event in CHANGES:
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1


def life(path, report, *, until=STEPS[-1], retry=False):
    """Goes on where the disk says, up to a step; `report` gets "." for each event that reached the disk, and "r" where all
    is forgotten on purpose."""
    directory = storage.RunDirectory(path)
    directory.lock()
    if not directory.exists():
        directory.write_benchmark(BENCHMARK)
    _trial(directory.trial(SPEC.id), report, until, retry)
    directory.unlock()


def _trial(folder, report, until, retry):
    if folder.outcome() is not None:
        if not retry:
            return
        os.write(report, b"r")
        folder.reset(attempts=True)
    folder.begin(SPEC, {})
    step = max((int(p.stem) for p in folder.checkpoints.glob("[0-9]*.json")), default=0)
    folder.attempt(step, synthetic_run.STEP_S * step, "here")
    for event in EVENTS:
        if step < event.step <= until:
            folder.append(msgspec.structs.replace(event, eval_time_s=time.perf_counter()))  # no two lives write the same
            os.write(report, b".")
            if event.step == CHECKPOINT:
                arrays = folder.checkpoints / str(CHECKPOINT)
                arrays.mkdir(parents=True, exist_ok=True)
                (arrays / "array").write_bytes(b"0" * 100)
                (folder.checkpoints / f".{CHECKPOINT}.json").write_text("{}")
                os.replace(folder.checkpoints / f".{CHECKPOINT}.json", folder.checkpoints / f"{CHECKPOINT}.json")
    if until == STEPS[-1]:
        folder.finish(OUTCOME)


def lived(path, kill=None, **more):
    """(whether it came to its end, its report) of a life in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            Killer(kill)
            life(path, writing, **more)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as handle:
        said = handle.read()
    assert status in (0, signal.SIGKILL), status
    return status == 0, said


def left(path):
    """What lies in the directory."""
    directory = storage.RunDirectory(path)
    folder = directory.trial(SPEC.id)
    return {
        "files": sorted(str(p.relative_to(path)).replace(SPEC.id, "ID") for p in path.rglob("*") if p.is_file()),
        "whole": directory.benchmark() == BENCHMARK and folder.spec() == SPEC,
        "events": [msgspec.structs.replace(e, eval_time_s=0.0) for e in folder.events()] == EVENTS,
        "outcome": folder.outcome() == OUTCOME,
        "lost_s": sum(a.lost_s for a in folder.attempts()),
    }


# What came before the life that is killed, and how that life and the one after it are called.
SCENES = {
    "fresh": (None, {}),
    "killed late": ({"until": STEPS[2]}, {}),
    "finished": ({}, {}),
    "retried": ({}, {"retry": True}),
}


def main(root):
    for scene, (before, how) in SCENES.items():
        for kill in itertools.count():
            path = root / scene / str(kill)
            said = lived(path, **before)[1] if before is not None else b""
            ended, more = lived(path, kill, **how)
            again, last = lived(path, **(how if not ended else {}))
            assert again
            redone = len((said + more + last).split(b"r")[-1]) - len(EVENTS)
            print(json.dumps({"scene": scene, "kill": kill, "ended": ended, "redone": redone, **left(path)}))
            if ended:
                break


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
