"""The board's tables for a paper or a README: LaTeX and Markdown, rounded, with headers in words."""

import dataclasses
import re
from typing import Any

from algoperf_lite.report import text

TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", text.MISS: "--"}
TEX |= {mark: "\\" + mark for mark in "&%$#_{}"}


class Bold(str):
    """A cell that stands out."""


@dataclasses.dataclass(frozen=True)
class Table:
    """Headers and cells as they are shown, before any mark-up; in the order of `standing.by_rank`."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(summary: dict[str, Any]) -> list[Table]:
    """Those of them that have rows."""
    found = [_medians(summary), _scores(summary), _pairs(summary)]
    found += [_ablations(summary, what, one) for what, one in (("ranks", text.number), ("scores", text.score))]
    found += [_tuning(summary)]
    return [table for table in found if table.rows]


def _medians(summary: dict[str, Any]) -> Table:
    """A row per workload, a column per submission; the fastest is bold."""
    rows = []
    for workload in summary["workloads"] if summary["cells"] else ():
        times = [summary["time_to_target"][name][workload] for name in summary["entrants"]]
        best = min((time for time in times if time is not None), default=None)
        cells = [Bold(text.number(time)) if time is not None and time == best else text.number(time) for time in times]
        held_out = " (held out)" if workload in summary["held_out"] else ""
        rows.append((workload + held_out, *cells))
    unit = text.UNITS[summary["ranked_by"]]
    return Table("medians", (f"Median {unit} to target", *summary["entrants"]), tuple(rows))


def _scores(summary: dict[str, Any]) -> Table:
    against = any(row["score_vs_reference"] is not None for row in summary["scores"])
    rows = [
        (
            _with(str(row["rank"]), row["rank_ci95"], text.number),
            row["submission"] + (" (untuned)" if row["untuned"] else ""),
            _with(text.score(row["score"]), row["ci95"], text.score),
            *(
                [_with(text.score(row["score_vs_reference"]), row["score_vs_reference_ci95"], text.score)]
                if against
                else []
            ),
        )
        for row in summary["scores"]
    ]
    columns = ("Rank (95 %)", "Submission", "Score (95 %)", *(["Score against the reference (95 %)"] if against else []))
    return Table("scores", columns, tuple(rows))


def _pairs(summary: dict[str, Any]) -> Table:
    rows = [
        (
            *(pair["a"], pair["b"], text.verdict(pair), _with(text.ratio(pair["ratio"]), pair["interval"], text.ratio)),
            text.further(pair["further"]["5%"]),
        )
        for pair in summary["pairs"]
    ]
    return Table("pairs", ("A", "B", "A is", "Time A / time B (interval)", "More studies for 5 %"), tuple(rows))


def _ablations(summary: dict[str, Any], what: str, one) -> Table:
    names = summary["entrants"]
    rows = [
        (row["rule"], *(one(row[what].get(name)) for name in names), str(row["swaps"]) if row["ranks"] else text.MISS)
        for row in summary["ablations"]
    ]
    return Table(f"ablations_{what}", (f"Rule changed ({what})", *names, "Pairs that swap"), tuple(rows))


def _tuning(summary: dict[str, Any]) -> Table:
    unit = text.UNITS[summary["ranked_by"]]
    rows = [
        (
            *(workload, name, str(k + 1), text.percent(cell["p_hit"][k])),
            *(text.number(cell["best_given_hit"][k]), text.number(cell["cost"][k])),
        )
        for workload in summary["workloads"]
        for name in summary["entrants"]
        if (cell := summary["tuning"].get(name, {}).get(workload))
        for k in range(cell["trials"])
    ]
    columns = ("Workload", "Submission", "Trials", "Hits within", f"Expected best, {unit}", f"Expected cost, {unit}")
    return Table("tuning", columns, tuple(rows))


def _with(value: str, ends: list[float] | None, one) -> str:
    """`0.854 (0.727-0.871)`, with a dash as long as a range needs."""
    return value if ends is None else f"{value} ({one(ends[0])}\N{EN DASH}{one(ends[1])})"


def markdown(table: Table) -> str:
    """A pipe table."""

    def cell(value: str) -> str:
        value = value.replace("|", "\\|")
        return f"**{value}**" if isinstance(value, Bold) else value

    rule = [":--" if left else "--:" for left in _left(table)]
    lines = [[cell(value) for value in table.columns], rule, *([cell(v) for v in row] for row in table.rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def latex(table: Table) -> str:
    """A booktabs tabular."""

    def line(row: tuple[str, ...]) -> str:
        cells = ["".join(TEX.get(mark, mark) for mark in value) for value in row]
        cells = [rf"\textbf{{{cell}}}" if isinstance(v, Bold) else cell for cell, v in zip(cells, row, strict=True)]
        return " & ".join(cells) + r" \\"

    columns = "".join("l" if left else "r" for left in _left(table))
    lines = ["% needs \\usepackage{booktabs}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", line(table.columns)]
    lines += [r"\midrule", *map(line, table.rows), r"\bottomrule", r"\end{tabular}"]
    return "\n".join(lines) + "\n"


def _left(table: Table) -> list[bool]:
    """By column, whether it is of words."""
    return [any(re.match(r"[^\W\d_]", row[i]) for row in table.rows) for i in range(len(table.columns))]
