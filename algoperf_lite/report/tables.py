"""The board's tables as files: CSV with raw values, Markdown and LaTeX with rounded ones."""

import csv
import dataclasses
import importlib.util
import pathlib
from collections.abc import Sequence
from typing import Any

from algoperf_lite.report import text
from algoperf_lite.results import Results


@dataclasses.dataclass(frozen=True)
class Table:
    """Column names and rows of plain values; None is a gap (a miss, or nothing to say)."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def tables(results: Results, summary: dict[str, Any]) -> list[Table]:
    """Scores, pairs and cells of a summary, and the trials behind them."""

    def ends(value: Sequence[float] | None) -> tuple[float | None, float | None]:
        return (None, None) if value is None else (value[0], value[1])

    scores = Table(
        "scores",
        ("submission", "score", "ci95_low", "ci95_high", "score_vs_reference", "studies", "untuned"),
        tuple(
            (r["submission"], r["score"], *ends(r["ci95"]), r["score_vs_reference"], r["n_studies"], r["untuned"])
            for r in summary["scores"]
        ),
    )
    pairs = Table(
        "pairs",
        ("a", "b", "time_ratio", "low", "high", "alpha", "p", "studies", "verdict", "additions"),
        tuple(
            (
                *(p["a"], p["b"], p["ratio"], *ends(p["interval"]), p["alpha"], p["p"]),
                *(p["look"], p["verdict"], "; ".join(p["additions"])),
            )
            for p in summary["pairs"]
        ),
    )
    cells = Table(
        "cells",
        (
            *("workload", "submission", summary["ranked_by"], "ci95_low", "ci95_high", "hits", "studies"),
            *("resolution", "optimizer_steps", "seconds"),
        ),
        tuple(
            (
                *(workload, name, cell["median"], *ends(cell["ci95"]), cell["hits"], cell["studies"]),
                *(cell["resolution"], summary["steps_to_target"][name][workload]),
                summary["time_to_target_s"][name][workload],
            )
            for workload in summary["workloads"]
            for name, row in summary["cells"].items()
            for cell in [row[workload]]
        ),
    )
    fields = [field.name for field in dataclasses.fields(results.board.trials[0])] if results.board.trials else []
    trials = Table(
        "trials",
        tuple(fields),
        tuple(tuple(getattr(trial, field) for field in fields) for trial in results.board.trials),
    )
    return [scores, pairs, cells, trials]


def write(found: Sequence[Table], folder: pathlib.Path) -> None:
    """CSV of every table; Markdown and LaTeX of all but the trials; the trials as Parquet where polars is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in found:
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.columns)
            writer.writerows(table.rows)
        if table.name != "trials":
            (folder / f"{table.name}.md").write_text(markdown(table), encoding="utf-8")
            (folder / f"{table.name}.tex").write_text(latex(table), encoding="utf-8")
        elif table.rows and importlib.util.find_spec("polars"):
            import polars

            polars.DataFrame(list(table.rows), schema=list(table.columns), orient="row").write_parquet(
                folder / "trials.parquet"
            )


def markdown(table: Table) -> str:
    """A pipe table."""
    rows = [[_cell(value).replace("|", "\\|") for value in row] for row in table.rows]
    lines = [table.columns, ["---"] * len(table.columns), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def latex(table: Table) -> str:
    """A booktabs tabular."""
    head = " & ".join(_tex(column) for column in table.columns) + r" \\"
    body = [" & ".join(_tex(_cell(value)) for value in row) + r" \\" for row in table.rows]
    columns = "".join("l" if _is_text(table, i) else "r" for i in range(len(table.columns)))
    lines = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _is_text(table: Table, column: int) -> bool:
    return any(isinstance(row[column], str) for row in table.rows)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, float):
        return text.number(value, 4)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _tex(value: str) -> str:
    for mark in "\\&%$#_{}":
        value = value.replace(mark, r"\textbackslash " if mark == "\\" else "\\" + mark)
    return value.replace(text.MISS, "--")
