"""The short form: what `run` and `score` print when they are done."""

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from algoperf_lite.report import text

STYLE = {"better": "bold blue", "worse": "yellow", "equivalent": "green", "not separable": "dim"}


def print_summary(summary: dict[str, Any], console: Console) -> None:
    """Headline, medians with their intervals, pairs and ranking (small fields: pairs first), and the flags."""
    console.print(f"\n[bold]{escape(text.headline(summary))}[/]")
    order = [_pairs, _scores] if summary["headline"] == "pairs" else [_scores, _pairs]
    for part in [_medians, *order]:
        table = part(summary)
        if table is not None:
            console.print(table)
    if summary["status"] == "scored":
        console.print(f"[dim]{escape(text.resolving_power(summary))}[/]")
    for control in summary["aa"]:
        word = "[green]passed[/]" if control["passed"] else "[bold red]FAILED[/]"
        console.print(
            f"A/A {escape(control['a'])} = {escape(control['b'])}: {word}, {control['compared']} evaluations compared, "
            f"{len(control['unequal'])} trials unequal, time ratio {text.ratio(control['ratio'])}"
        )
    for flag in summary["flags"]:
        console.print(f"[yellow]{escape(flag['kind'])}[/] [dim]{escape(flag['text'])}[/]")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    return table


def _pairs(summary: dict[str, Any]) -> Table | None:
    if not summary["pairs"]:
        return None
    table = _table("Pairs: time of A over time of B", "A over B", "ratio", "interval", "verdict", "+ studies for 5 %")
    for pair in summary["pairs"]:
        table.add_row(
            escape(f"{pair['a']} / {pair['b']}"),
            text.ratio(pair["ratio"]),
            text.interval(pair["interval"], text.ratio),
            f"[{STYLE[pair['verdict']]}]{escape(text.verdict(pair))}[/]",
            text.further(pair["further"]["5%"]),
        )
    return table


def _scores(summary: dict[str, Any]) -> Table | None:
    if not summary["scores"]:
        return None
    table = _table("Score", "submission", "score", "95 % interval", "rank", "vs reference")
    for row in summary["scores"]:
        name = escape(row["submission"]) + (" (untuned)" if row["untuned"] else "")
        table.add_row(
            name,
            text.score(row["score"]),
            text.interval(row["ci95"], text.score),
            str(row["rank"]) + (f" ({text.interval(row['rank_ci95'])})" if row["rank_ci95"] else ""),
            text.score(row["score_vs_reference"]),
        )
    return table


def _medians(summary: dict[str, Any]) -> Table | None:
    if not summary["cells"]:
        return None
    unit = text.UNITS[summary["ranked_by"]]
    title = f"Time to target ({unit}): medians over studies, with 95 % intervals"
    table = _table(title, "workload", "submission", "median", "interval", "hits", "steps", "seconds")
    for workload in summary["workloads"]:
        for i, (name, row) in enumerate(summary["cells"].items()):
            cell = row[workload]
            table.add_row(
                escape(workload) if i == 0 else "",
                escape(name),
                text.number(cell["median"]) + ("*" if cell["starred"] else ""),
                text.interval(cell["ci95"]).replace(" to ", "\N{EN DASH}"),
                f"{cell['hits']}/{cell['studies']}",
                text.number(summary["steps_to_target"][name][workload]),
                text.number(summary["time_to_target_s"][name][workload]),
            )
    return table
