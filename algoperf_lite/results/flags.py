"""What a reader must know of a board before believing a number: kind, and one plain sentence or two."""

import collections
from collections.abc import Iterator
from typing import Any

import scoring
from algoperf_lite.errors import counted
from algoperf_lite.results.table import Results


def flags(results: Results, summary: dict[str, Any]) -> list[dict[str, str]]:
    """The flags of a board, what the reader of its files had to say among them."""
    found = [*_board(results), *results.about.notes, *_cells(summary), *_controls(results, summary)]
    return [{"kind": kind, "text": text} for kind, text in found]


def _board(results: Results) -> Iterator[tuple[str, str]]:
    about, board = results.about, results.board
    if about.smoke:
        yield "smoke", "A smoke run: two evaluations a trial, no cost measured, nothing ranked."
    if board.missing:
        cells = collections.Counter((key[0], key[1]) for key in board.missing)
        where = "; ".join(f"{name} on {workload} ({n})" for (name, workload), n in sorted(cells.items()))
        yield (
            "unfinished",
            f"{counted(len(board.missing), 'trial')} missing of {len(board.expected)}: {where}. "
            "An unfinished board gets no score; the same `run` command goes on.",
        )
    if board.studies == 1:
        yield "one study", "One study has no noise estimate: every verdict is 'not separable'."
    elif not scoring.last_look(board.studies):
        yield "few studies", f"{board.studies} studies: verdicts and intervals of scores begin at 3."
    if board.steps_only:
        yield (
            "steps only",
            "Over 10 % of the trials ran while the machine's speed drifted by more than 15 %: times are not to be "
            "trusted, so the board ranks by optimizer steps x cost factor.",
        )
    noisy = sum(trial.noisy for trial in board.trials)
    if noisy:
        yield "noisy", f"{noisy} of {counted(len(board.trials), 'trial')} saw the machine's speed drift by over 15 %."
    provisional = [workload.name for workload in board.workloads if workload.provisional]
    if provisional:
        yield (
            "provisional targets",
            f"{', '.join(provisional)}: not yet confirmed by the target procedure; may change.",
        )
    if about.untuned:
        names = ", ".join(name for name in board.entrants if name in about.untuned)
        yield "untuned", f"{names}: no search space; one default point per study against five."


def _cells(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if summary["studies"] > 2 and summary["scores"] and all(row["ci95"] is None for row in summary["scores"]):
        few = [f"{s} on {w}" for s, row in summary["cells"].items() for w, c in row.items() if 0 < c["studies"] < 3]
        yield "no intervals", f"Scores have intervals only if every cell has 3 studies; fewer: {', '.join(few)}."
    cells = [(name, w, cell) for name, row in summary["cells"].items() for w, cell in row.items()]
    for name, workload, cell in cells:
        if cell["starred"]:
            yield (
                "starred",
                f"{name} on {workload}: {cell['starred']} of {cell['hits']} hits (*) met the validation target but "
                "missed the test target by over 2 standard errors.",
            )
    coarse = collections.defaultdict(list)
    for name, workload, cell in cells:
        if cell["coarse"]:
            coarse[workload].append(f"{name} {cell['resolution']:.1%}")
    for workload, who in coarse.items():
        yield (
            "coarse",
            f"{workload}: the time between two evaluations is over 5 % of the time to target ({', '.join(who)}); "
            "smaller differences cannot show.",
        )


def _controls(results: Results, summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for row in summary["aa"]:
        if not row["passed"]:
            yield "A/A failed", f"{row['a']} and {row['b']} are one file, {_apart(row)}."
    if summary["status"] == "scored" and not summary["aa"] and results.about.kind == "run":
        yield "no A/A", "No entrant runs twice, so the harness's own error is not shown on this board."


def _apart(control: dict[str, Any]) -> str:
    """How two entrants of one file differ."""
    if control["unequal"]:
        return f"and their metrics differ in {counted(len(control['unequal']), 'trial')}: more than seed and file entered"
    if not control["compared"] or control["ratio"] is None:
        return f"and no {'time' if control['compared'] else 'evaluation'} of both can be compared"
    return (
        f"trained alike to the bit, and were charged times that differ by {abs(control['ratio'] - 1):.1%} "
        "(5 % is allowed): the machine was unsteady, believe no such difference in time"
    )
