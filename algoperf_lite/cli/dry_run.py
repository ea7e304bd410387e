"""What `run --dry-run` prints: a table per workload, then the totals."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from algoperf_lite.errors import counted

if TYPE_CHECKING:
    from algoperf_lite.dry_run import DryRun, Program, Row

COLUMNS = ("trials", "steps", "state", "FLOPs", "memory", "step", "likely", "at most")


def show(found: "DryRun", console: Console) -> None:
    """Prints a dry run in 80 columns."""
    where = f"{found.devices} {found.platform} device{'s' if found.devices > 1 else ''}"
    smoke = ", smoke" if found.smoke else ""
    console.print(
        f"{found.benchmark} v{found.version}, {found.ruleset} ruleset, seed {found.seed}{smoke}: "
        f"{counted(found.trials, 'trial')} to run on {where}",
        highlight=False,
    )
    for name in dict.fromkeys(row.workload for row in found.rows):
        _workload(name, [row for row in found.rows if row.workload == name], console)
    if found.rows:
        _totals(found, console)
    else:
        console.print("nothing is missing: the board can be scored", highlight=False)


def _workload(name: str, rows: "list[Row]", console: Console) -> None:
    program = next((row.program for row in rows if row.program), None)
    title = name
    if program is not None:
        title += f": {si(program.parameters)} parameters, {seconds(program.evaluation_s)} an evaluation"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("submission", overflow="fold")
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        several = sum(r.entrant == row.entrant for r in rows) > 1
        table.add_row(row.entrant + (f" {row.static}" if several else ""), str(row.trials), str(row.step_cap), *_cells(row))
    console.print()
    console.print(table)


def _cells(row: "Row") -> list[str]:
    program = row.program
    if program is None:
        return ["", "", "too large", "", "", ""]
    return [
        "" if program.state_ratio is None else f"{program.state_ratio:.1f}x",
        "" if program.flops is None else (">" if program.flops_at_least else "") + si(program.flops),
        _memory(program),
        seconds(program.step_s),
        "" if row.likely_trial_s is None else seconds(row.trials * row.likely_trial_s),
        seconds(row.trials * row.trial_s),
    ]


def _memory(program: "Program") -> str:
    return "" if program.memory_bytes is None else size(program.memory_bytes)


def _totals(found: "DryRun", console: Console) -> None:
    out = [f"time: at most {seconds(found.at_most_s)}, where no trial reaches its target"]
    if found.likely_s is not None:
        out.append(f"      likely {seconds(found.likely_s)}, where trials are as quick as the reference was")
        if any(row.likely_trial_s is None for row in found.rows):
            out.append("      (on workloads without a frozen time, trials count to their cap)")
    out.append(f"      {seconds(found.preparation_s)} of it before the first trial: data, compilation, cost factors")
    out.append("      start-up and the report come on top")
    out.append(f"disk: about {size(found.disk_bytes)} of results, without the report")
    out.append(f"      up to 2 x {size(found.checkpoint_bytes)} of checkpoints while it runs")
    out.append(f"      {size(found.compile_cache_bytes)} of compile cache, kept for all boards")
    if any(row.program is None for row in found.rows):
        out.append("too large: does not fit into memory; each of its trials would end as out_of_memory")
    bound = ", an upper bound" if found.platform == "cpu" else ""
    out += [
        "steps: cap of a trial, at cost factor 1 until that is measured",
        "state: bytes of the optimizer's state over those of the parameters",
        "FLOPs: products and convolutions of a step; > where a loop's length is unknown",
        f"memory: training program with its data, per device{bound}",
        "likely, at most: all trials of the row",
    ]
    console.print("\n" + "\n".join(out), highlight=False, soft_wrap=True)


def si(number: float) -> str:
    """`12_345_678` -> `12.3 M`."""
    for unit in ("", " k", " M", " G", " T"):
        if number < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g} P"


def size(number: float) -> str:
    """Bytes, in powers of 1000: `12.3 MB`."""
    return si(number) + ("B" if number >= 999.5 else " B")


def seconds(number: float) -> str:
    """A duration as a person would say it: `1.2 ms`, `45 s`, `12 min`, `3.4 h`."""
    if number < 1e-3:
        return f"{1e6 * number:.3g} us"
    if number < 1:
        return f"{1e3 * number:.3g} ms"
    if number < 100:
        return f"{number:.2g} s"
    if number < 100 * 60:
        return f"{number / 60:.0f} min"
    return f"{number / 3600:.1f} h" if number < 48 * 3600 else f"{number / 86400:.1f} d"
