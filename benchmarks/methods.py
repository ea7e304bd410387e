"""The table of all training algorithms: source, what they rest on, how close they are to their source, memory, cost.

Run: python -m benchmarks.methods [--submissions A,B] [--workload digits_vit] [--docs docs/methods.md]

Source is the docstring's. "rests on" are the optax transformations a file calls, and "own" where it has an update rule of
its own. The deviation is the largest over a method's oracles and its transcription. Memory is that of the optimizer's state
over that of the parameters; cost is the time of a step over one of `sgd`, interleaved, median over ABBA blocks (P4), on
one workload: the smaller the model's own step, the more the update weighs. Costs in `benchmarks/results/methods.json` are
kept unless a file changed; the rest is found anew, deviations from transcriptions by their tests.
"""

import argparse
import ast
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import jax

from algoperf_lite import cli, cost, engine, environment, mesh, records, registry, spec, training
from algoperf_lite.clock import Clock
from benchmarks import page
from tests.submissions import transcribed
from tests.submissions.driver import deviation, drive
from tests.submissions.oracles.cases import STEPS
from tests.submissions.oracles.make import cases, stored
from tests.submissions.problem import noisy_quadratic

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "methods.json"
PLUMBING = {
    "chain",
    "safe_increment",
    "apply_updates",
    "global_norm",
    "MaskedNode",
    "scale_by_learning_rate",
    "add_decayed_weights",
    "with_extra_args_support",
    "scale",
    "masked",
}


def rests_on(source: str) -> list[str]:
    """The optax transformations that a file calls, and `own` where it defines an `update`."""
    tree = ast.parse(source)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            if re.fullmatch(r"optax(\.contrib)?\.[a-z_0-9]+", name) and name.rpartition(".")[2] not in PLUMBING:
                found.add(name)
    own = any(isinstance(node, ast.FunctionDef) and node.name == "update" for node in ast.walk(tree))
    ours = {
        f"{node.func.value.id}.{node.func.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("averaging", "schedule_free")
    }
    return sorted(found) + (["own"] if own else []) + sorted(ours)


def transcriptions() -> dict[str, float]:
    """Largest deviation of every method that has a transcription from it: what the tests of rules find, run anew."""
    if importlib.util.find_spec("pytest") is None:
        sys.exit("deviations come from the tests of rules, which need pytest: pip install -e '.[test]'")
    files = [str(file) for file in transcribed.files()]
    code = f"import pytest; code = pytest.main({files!r}); from tests.submissions import driver; import json; "
    code += "print(json.dumps(driver.FOUND)); raise SystemExit(code)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the tests of rules do not pass:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    if set(found) != transcribed.transcribed():
        sys.exit(f"TRANSCRIBED in the tests of rules is not what they compare: {set(found) ^ transcribed.transcribed()}")
    return found


def closeness(name: str, transcribed_to: dict[str, float]) -> tuple[list[str], float]:
    """(what a method is compared with, largest deviation from any of it)."""
    oracles, largest = [], []
    for key, case in cases().items():
        if case.submission == name:
            problem = noisy_quadratic(case.shapes, STEPS, still=case.still)
            ours, theirs = drive(name, case.hparams, problem, STEPS, step_budget=case.step_budget), stored(key)
            largest.append(deviation([ours[t] for t in theirs], list(theirs.values())))
            oracles.append(case.package)
    if name in transcribed_to:
        oracles.append("transcription")
        largest.append(transcribed_to[name])
    return sorted(set(oracles)), max(largest)


def facts(name: str, workload: spec.Workload, transcribed_to: dict[str, float]) -> dict:
    """What is known of a method without training by it."""
    entry, problem = registry.load_submission(name), workload.problem()
    point = entry.resolve({})
    hyper = training.put_hyper(mesh.make({"data": 1, "fsdp": 1}), entry, point)
    state = jax.eval_shape(training.opt_init(entry, problem, entry.static(point)), problem.shapes, hyper)
    oracles, largest = closeness(name, transcribed_to)
    return {
        "submission": name,
        "sha256": entry.sha256,
        "about": entry.doc.splitlines()[0],
        "rests_on": rests_on((ROOT / "submissions" / f"{name}.py").read_text()),
        "asks_for": [*entry.EXTRA_ARGS, *(["eval_params"] if entry.eval_params else [])],
        "oracles": oracles,
        "deviation": largest,
        "state": training.tree_bytes(state) / training.tree_bytes(problem.shapes),
        "cost": None,
    }


class Timer:
    """Times steps on one workload, against those of `sgd`."""

    def __init__(self, workload: spec.Workload):
        self._bench = engine.compile_bench(workload, mesh.make({"data": 1, "fsdp": 1}))
        self._sgd, self._base = self._compiled("sgd")

    def _compiled(self, name: str) -> tuple[engine.Programs, dict]:
        entry = registry.load_submission(name)
        return engine.compile_programs(self._bench, entry, entry.resolve({})), entry.resolve({})

    def cost(self, name: str) -> float:
        """Time of a step over one of `sgd`."""
        if name == "sgd":
            return 1.0
        programs, point = self._compiled(name)
        return cost.cost(programs, self._sgd, point, self._base, 1.0, Clock()).factor

    @staticmethod
    def on() -> str:
        """Date and machine."""
        m = environment.manifest()
        return f"timed on {records.utc()[:10]}: {m['processor']}, {m['cores']} cores ({m['device_kind']}), jax {m['jax']}"


def table(rows: list[dict]) -> str:
    """Markdown of all rows."""
    lines = [
        "| method | what it is | rests on | asks for | compared with | largest deviation | state | step |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in sorted(rows, key=lambda r: r["submission"]):
        about = r["about"].replace("|", "\\|")
        cost_x = "" if r["cost"] is None else f"{r['cost']:.2f}x"
        asks = ", ".join(f"`{name}`" for name in r["asks_for"])
        on = ", ".join(f"`{name}`" if "." in name else name for name in r["rests_on"])
        lines.append(
            f"| [`{r['submission']}`](../submissions/{r['submission']}.py) | {about} | {on} | {asks} | "
            f"{', '.join(r['oracles'])} | {r['deviation']:.0e} | {r['state']:.1f}x | {cost_x} |"
        )
    return "\n".join(lines)


def finished() -> list[dict]:
    """The rows there are."""
    return json.loads(RESULTS.read_text())["rows"] if RESULTS.is_file() else []


def main() -> None:
    """Measures what is missing, writes, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--submissions", help="A,B; default all shipped ones")
    parser.add_argument("--workload", default="digits_vit")
    parser.add_argument("--untimed", action="store_true", help="leave out what training steps cost")
    parser.add_argument("--docs", type=pathlib.Path)
    args = parser.parse_args()
    environment.setup()
    known = {r["submission"]: r for r in finished()}
    workload = registry.load_workload(args.workload)
    timer, found = None if args.untimed else Timer(workload), transcriptions()
    for name in cli.comma_list(args.submissions) if args.submissions else registry.names("submissions"):
        before, known[name] = known.get(name, {}), facts(name, workload, found)
        if before.get("sha256") == known[name]["sha256"]:
            known[name] |= {key: before[key] for key in ("cost", "timed") if key in before}
        if timer is not None and known[name]["cost"] is None:
            known[name] |= {"cost": timer.cost(name), "timed": timer.on()}
        print(table([known[name]]).splitlines()[-1], flush=True)
        RESULTS.write_text(json.dumps({"rows": list(known.values())}, indent=1) + "\n")
    rows = [r for r in known.values() if r["submission"] in registry.names("submissions")]
    if args.docs:
        timed = "; ".join(sorted({r["timed"] for r in rows if "timed" in r})) or "not yet timed"
        page.put(args.docs, "methods table", f"{table(rows)}\n\nState and step on `{args.workload}`; {timed}.")


if __name__ == "__main__":
    main()
