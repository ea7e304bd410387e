"""Two submissions of one board, or two boards, side by side, with a verdict (PROTOCOL P17)."""

import dataclasses
import pathlib
from typing import Any

import numpy as np

import scoring
from algoperf_lite import errors
from algoperf_lite import results as results_module
from algoperf_lite.results import algoperf_logs
from algoperf_lite.results import summary as summary_module
from algoperf_lite.results.table import Results


@dataclasses.dataclass(frozen=True)
class Side:
    """One submission of one board, and what the board says of it."""

    results: Results
    summary: dict[str, Any]
    entrant: str

    @property
    def label(self) -> str:
        return f"{self.results.path}:{self.entrant}"


def compare(a: str, b: str, board: str | None = None, benchmark: str | None = None) -> dict[str, Any]:
    """What can be said of A against B, JSON-ready.

    Args:
      a, b: two submissions of `board`; or two folders, which compares the submissions that both have; or `FOLDER:NAME`.
      board: folder that both submissions are in.
      benchmark: a board of AlgoPerf's logs, if the folders are such.

    Raises:
      UserError: an unknown folder or submission, nothing in common, an unfinished board, boards of two kinds.
    """
    if board is not None:
        return _within(_load(board, benchmark), a, b)
    (path_a, name_a), (path_b, name_b) = _split(a), _split(b)
    left, right = _load(path_a, benchmark), _load(path_b, benchmark)
    same = left.path.resolve() == right.path.resolve()
    if (name_a is None) != (name_b is None):
        raise errors.UserError(f"{a} against {b}: name a submission on both sides (FOLDER:NAME) or on neither")
    if name_a is not None and name_b is not None:
        if same:
            return _within(left, name_a, name_b)
        pairs = [(_known(left, name_a), _known(right, name_b))]
    elif same:
        raise errors.UserError(f"{a} against itself; two submissions of it: algoperf-lite compare A B --in {path_a}")
    else:
        both = [name for name in left.board.entrants if name in right.board.entrants]
        if not both:
            raise errors.UserError(
                f"{a} ({', '.join(left.board.entrants)}) and {b} ({', '.join(right.board.entrants)}) have no submission "
                f"of one name; compare two by name: algoperf-lite compare {a}:{left.board.entrants[0]} "
                f"{b}:{right.board.entrants[0]}"
            )
        pairs = [(name, name) for name in both]
    return _across(left, right, pairs)


def _split(text: str) -> tuple[str, str | None]:
    """`FOLDER:NAME`; a folder may have a colon of its own."""
    if pathlib.Path(text).exists():
        return text, None
    folder, colon, name = text.rpartition(":")
    if not colon or not pathlib.Path(folder).is_dir():
        raise errors.UserError(
            f"{text!r} is neither a folder nor FOLDER:NAME; two submissions of one board: "
            "algoperf-lite compare A B --in FOLDER"
        )
    return folder, name


def _load(path: str, benchmark: str | None) -> Results:
    results = results_module.read(path, benchmark)
    if results.board.missing:
        count = errors.counted(len(results.board.missing), "trial")
        raise errors.UserError(f"{path}: unfinished, {count} missing; see `algoperf-lite status {path}`")
    if results.about.smoke:
        raise errors.UserError(f"{path} is a smoke run: nothing of it can be compared")
    for kind, text in results.about.notes:
        if kind == algoperf_logs.ANOTHER:
            raise errors.UserError(f"{path}: {text} Logs are compared under their own board, two of them under one")
    return results


def _known(results: Results, name: str) -> str:
    if name not in results.board.entrants:
        raise errors.unknown(f"submission on {results.path}:", name, results.board.entrants)
    return name


def _within(results: Results, a: str, b: str) -> dict[str, Any]:
    """Two submissions of one board: the board's own verdict, with its correction for all its pairs."""
    a, b = _known(results, a), _known(results, b)
    if a == b:
        raise errors.UserError(f"{a!r} against itself; name two submissions of {', '.join(results.board.entrants)}")
    summary = summary_module.summarise(results)
    hidden = {twin: first for first, twin in results.about.twins}  # a twin has no verdict of its own
    if hidden.get(a, a) == hidden.get(b, b):
        raise errors.UserError(
            f"{a} and {b} are one file: an A/A control, not a comparison; see `algoperf-lite score {results.path}`"
        )
    pair = next(p for p in summary["pairs"] if {p["a"], p["b"]} == {hidden.get(a, a), hidden.get(b, b)})
    pair = pair if pair["a"] == hidden.get(a, a) else turned(pair)
    notes = [f"{name} is the file of {hidden[name]}, whose verdict is shown" for name in (a, b) if name in hidden]
    left, right = Side(results, summary, a), Side(results, summary, b)
    row = {"a": a, "b": b, "verdict": pair, "workloads": _workloads(left, right, list(summary["workloads"]))}
    return _answer(left, right, [row], notes)


def _across(left: Results, right: Results, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Submissions of two boards, on the workloads that both have in one and the same form."""
    if left.about.kind != right.about.kind:
        raise errors.UserError(f"{left.path} and {right.path}: AlgoPerf's logs and a run directory have no unit in common")
    if left.board.unit != right.board.unit:  # one clock was unsteady: both are compared by what needs no clock
        left, right = (_in_steps(side) for side in (left, right))
    names, notes = _common(left, right)
    if left.about.ruleset != right.about.ruleset or left.board.points != right.board.points:
        notes.append("the boards tune differently: a study's time is the best of another number of trials")
    sides = {id(side): summary_module.summarise(side) for side in (left, right)}
    entries = [(side, name) for pair in pairs for side, name in zip((left, right), pair, strict=True)]
    columns = {id(side): [[w.name for w in side.board.workloads].index(name) for name in names] for side in (left, right)}
    studies = max(left.board.studies, right.board.studies)
    times = np.full((len(entries), len(names), studies), np.nan)
    spacing = np.empty(times.shape[:2])
    for i, (side, name) in enumerate(entries):
        row, of = side.board.entrants.index(name), columns[id(side)]
        times[i, :, : side.board.studies] = scoring.study_times(side.board, side.board.unit)[row, of]
        spacing[i] = scoring.spacing(side.board)[row, of]
    counts = (~np.isnan(times)).any(axis=1).sum(axis=-1).tolist()
    notes += [
        f"{a} has {n} studies and {b} {m}: the first {min(n, m)} of each are judged"
        for (a, b), n, m in zip(pairs, counts[::2], counts[1::2], strict=True)
        if n != m
    ]
    found = scoring.verdicts(
        tuple(f"{side.path}:{name}" for side, name in entries),
        tuple(names),
        times,
        left.board.limits[columns[id(left)]],
        intervals=spacing,
        pairs=[(2 * i, 2 * i + 1) for i in range(len(pairs))],
    )
    rows = [
        {
            "a": a,
            "b": b,
            "verdict": summary_module.pair_row(verdict),
            "workloads": _workloads(Side(left, sides[id(left)], a), Side(right, sides[id(right)], b), names),
        }
        for (a, b), verdict in zip(pairs, found, strict=True)
    ]
    first, second = (Side(side, sides[id(side)], pairs[0][i]) for i, side in enumerate((left, right)))
    return _answer(first, second, rows, notes)


def _in_steps(results: Results) -> Results:
    rules = dataclasses.replace(results.board.rules, unit="steps_x_cost")
    return dataclasses.replace(results, board=dataclasses.replace(results.board, rules=rules))


def _common(left: Results, right: Results) -> tuple[list[str], list[str]]:
    """Names of the workloads that are the same on both, and notes on those that are not."""
    other = {w.name: w for w in right.board.base}
    same, notes = [], []
    for workload in left.board.base:
        twin = other.get(workload.name)
        if twin is None:
            notes.append(f"{workload.name} is only in {left.path}")
        elif differences := _differences(left, right, workload, twin):
            notes.append(f"{workload.name} is left out, the two boards differ in its {', '.join(differences)}")
        else:
            same.append(workload.name)
    notes += [f"{name} is only in {right.path}" for name in other if name not in {w.name for w in left.board.base}]
    if not same:
        raise errors.UserError(f"{left.path} and {right.path} have no workload in common: {'; '.join(notes)}")
    return same, notes


def _differences(left: Results, right: Results, a: scoring.Workload, b: scoring.Workload) -> list[str]:
    fields = ("metric", "direction", "target", "budget", "interval")
    found = [f"{f} ({getattr(a, f)} and {getattr(b, f)})" for f in fields if getattr(a, f) != getattr(b, f)]
    if left.benchmark and right.benchmark:
        versions = [side.workloads[a.name].version for side in (left.benchmark, right.benchmark)]
        found += [f"version ({versions[0]} and {versions[1]})"] if versions[0] != versions[1] else []
    return found


def _workloads(left: Side, right: Side, names: list[str]) -> list[dict[str, Any]]:
    """A row per workload: both medians with their intervals, and their ratio; seconds only within one machine."""
    seconds = one_machine(left.results, right.results)
    rows = []
    for name in names:
        row: dict[str, Any] = {"workload": name, "held_out_of": left.summary["held_out"].get(name)}
        for key, side in (("a", left), ("b", right)):
            cell = side.summary["cells"][side.entrant][name]
            row[key] = {field: cell[field] for field in ("median", "ci95", "hits", "studies")} | {
                "steps": side.summary["steps_to_target"][side.entrant][name],
                "seconds": side.summary["time_to_target_s"][side.entrant][name] if seconds else None,
            }
        one, other = row["a"]["median"], row["b"]["median"]
        row["ratio"] = None if one is None or other is None else one / other
        rows.append(row)
    return rows


def one_machine(left: Results, right: Results) -> bool:
    """Whether wall time may be compared: AlgoPerf's boards ran on one machine type, ours say where they ran."""
    if left.about.kind == "algoperf":
        return True
    return len({*left.hosts, *right.hosts}) == 1


def turned(pair: dict[str, Any]) -> dict[str, Any]:
    """The verdict of B against A."""
    words = {"better": "worse", "worse": "better"}
    interval = pair["interval"] and [1 / end for end in reversed(pair["interval"])]
    return pair | {
        "a": pair["b"],
        "b": pair["a"],
        "verdict": words.get(pair["verdict"], pair["verdict"]),
        "ratio": pair["ratio"] and 1 / pair["ratio"],
        "interval": interval,
        "hits": pair["hits"][::-1],
    }


def _answer(left: Side, right: Side, rows: list[dict[str, Any]], notes: list[str]) -> dict[str, Any]:
    seconds = one_machine(left.results, right.results)
    if not seconds:
        notes = [*notes, "seconds are left out: the trials ran on more than one kind of machine"]
    flags = [
        f"{side.results.path}: {flag['text']}"
        for side in ([left] if left.results is right.results else [left, right])
        for flag in side.summary["flags"]
        if flag["kind"] in ("one study", "few studies", "steps only", "development", "provisional targets", "A/A failed")
    ]
    return {
        "a": str(left.results.path),
        "b": str(right.results.path),
        "units": left.summary["units"],
        "ranked_by": left.summary["ranked_by"],
        "seconds_compared": seconds,
        "pairs": rows,
        "notes": [*notes, *flags],
    }
