"""The board's tables as files: CSV and Parquet, long and raw; `paper_tables` has those to be read."""

import csv
import dataclasses
import importlib.util
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import scoring
from algoperf_lite.report import paper_tables
from algoperf_lite.results import Results


@dataclasses.dataclass(frozen=True)
class Table:
    """Column names and rows of plain values; None is a gap (a miss, or nothing to say)."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def tables(results: Results, summary: dict[str, Any]) -> list[Table]:
    """What a summary says, medians first, and the trials behind it."""
    return [
        _medians(summary),
        _scores(summary),
        _pairs(summary),
        _ablations(summary, "ranks"),
        _ablations(summary, "scores"),
        _tuning(summary),
        _trials(results),
    ]


def _medians(summary: dict[str, Any]) -> Table:
    seconds = [] if summary["ranked_by"] == "seconds" else ["median_seconds"]
    return Table(
        "medians",
        (
            *("workload", "submission", summary["ranked_by"], "ci95_low", "ci95_high", "hits", "studies"),
            *("resolution", "best_of_misses", "median_optimizer_steps", *seconds),
        ),
        tuple(
            (
                *(workload, name, cell["median"], *_ends(cell["ci95"]), cell["hits"], cell["studies"]),
                *(cell["resolution"], cell["best"], summary["steps_to_target"][name][workload]),
                *([summary["time_to_target_s"][name][workload]] if seconds else []),
            )
            for workload in (summary["workloads"] if summary["cells"] else ())
            for name in summary["entrants"]
            for cell in [summary["cells"][name][workload]]
        ),
    )


def _scores(summary: dict[str, Any]) -> Table:
    return Table(
        "scores",
        (
            *("submission", "score", "ci95_low", "ci95_high", "rank", "rank_low", "rank_high", "score_vs_reference"),
            *("vs_reference_low", "vs_reference_high", "studies", "untuned"),
        ),
        tuple(
            (
                *(r["submission"], r["score"], *_ends(r["ci95"]), r["rank"], *_ends(r["rank_ci95"])),
                *(r["score_vs_reference"], *_ends(r["score_vs_reference_ci95"]), r["n_studies"], r["untuned"]),
            )
            for r in summary["scores"]
        ),
    )


def _pairs(summary: dict[str, Any]) -> Table:
    return Table(
        "pairs",
        ("a", "b", "time_ratio", "low", "high", "alpha", "p", "studies", "verdict", "additions"),
        tuple(
            (
                *(p["a"], p["b"], p["ratio"], *_ends(p["interval"]), p["alpha"], p["p"]),
                *(p["look"], p["verdict"], "; ".join(p["additions"])),
            )
            for p in summary["pairs"]
        ),
    )


def _ablations(summary: dict[str, Any], what: str) -> Table:
    """A row per changed rule, a column per submission: its ranks, or its scores."""
    names = summary["entrants"]
    return Table(
        f"ablations_{what}",
        ("kind", "rule", *names, "swaps", "note"),
        tuple(
            (row["kind"], row["rule"], *(row[what].get(name) for name in names), row["swaps"], row["note"])
            for row in summary["ablations"]
        ),
    )


def _tuning(summary: dict[str, Any]) -> Table:
    return Table(
        "tuning",
        ("workload", "submission", "k", "p_hit", "best_given_hit", "cost"),
        tuple(
            (workload, name, k + 1, cell["p_hit"][k], cell["best_given_hit"][k], cell["cost"][k])
            for workload in summary["workloads"]
            for name, row in summary["tuning"].items()
            if (cell := row.get(workload))
            for k in range(cell["trials"])
        ),
    )


def _trials(results: Results) -> Table:
    """Every finished trial; its best metric, and its hyperparameters as JSON."""
    trials = results.board.trials
    direction = {workload.name: workload.direction for workload in results.board.workloads}

    def last(trial: scoring.Trial) -> tuple[float | None, str]:
        best = results.curves[trial.key].best(direction[trial.workload]) if trial.key in results.curves else math.nan
        return None if math.isnan(best) else best, json.dumps(dict(results.hparams.get(trial.key, {})))

    fields = [field.name for field in dataclasses.fields(trials[0])] if trials else []
    return Table(
        "trials",
        (*fields, "best_metric", "hparams"),
        tuple((*(getattr(trial, field) for field in fields), *last(trial)) for trial in trials),
    )


def _ends(value: Sequence[float] | None) -> tuple[float | None, float | None]:
    return (None, None) if value is None else (value[0], value[1])


def parquet_available() -> bool:
    """Whether polars is installed."""
    return importlib.util.find_spec("polars") is not None


def write(results: Results, summary: dict[str, Any], folder: pathlib.Path) -> None:
    """CSV and, where polars is installed, Parquet of every table; Markdown and LaTeX for papers. None that is empty."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in tables(results, summary):
        for old in folder.glob(f"{table.name}.*"):  # of an earlier report, which may have known more
            old.unlink()
        if not table.rows:
            continue
        with (folder / f"{table.name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(table.columns)
            writer.writerows(table.rows)
        if parquet_available():
            import polars

            frame = polars.DataFrame(list(table.rows), schema=list(table.columns), orient="row", infer_schema_length=None)
            frame.write_parquet(folder / f"{table.name}.parquet")
    for table in paper_tables.tables(summary):
        (folder / f"{table.name}.md").write_text(paper_tables.markdown(table), encoding="utf-8")
        (folder / f"{table.name}.tex").write_text(paper_tables.latex(table), encoding="utf-8")
