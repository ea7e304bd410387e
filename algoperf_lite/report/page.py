"""One self-contained HTML page of a run directory, with its tables and figures as files beside it.

The page makes no network request, needs no JavaScript, and follows the reader's light or dark preference. Where plotly
is installed its curves and profile are also interactive, for 5 MB more (`light` leaves that out).
"""

import hashlib
import importlib.util
import pathlib
import shlex
from typing import Any

import jinja2
from markupsafe import Markup

import scoring
from algoperf_lite import results as results_module
from algoperf_lite.report import figures, interactive, tables, text
from algoperf_lite.results import Results, Run, median_run

PAIRS_SHOWN = 15  # more are folded away: 6 entrants have 15


def write(run_dir: pathlib.Path | str, out: pathlib.Path | None = None, light: bool = False) -> pathlib.Path:
    """Write the page (default RUN_DIR/report.html) with `tables/` and `figures/` beside it; return its path.

    `light`: plain SVG figures even where plotly is installed.
    """
    results = results_module.read(run_dir)
    summary = results_module.summarise(results)
    out = pathlib.Path(out) if out else results.path / "report.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(results, summary, light), encoding="utf-8")
    tables.write(tables.tables(results, summary), out.parent / "tables")
    if summary["cells"] and importlib.util.find_spec("matplotlib"):
        from algoperf_lite.report import print_figures

        print_figures.write(results, out.parent / "figures")
    return out


def render(results: Results, summary: dict[str, Any], light: bool = False) -> str:
    """The page as a string."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("algoperf_lite.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": text.number,
        "score": text.score,
        "ratio": text.ratio,
        "percent": text.percent,
        "further": text.further,
    }
    benchmark = results.benchmark
    live = not light and interactive.available()
    curves = [(name, _curves(results, name, live)) for name in summary["workloads"]]
    drawn = any(figure for _, figure in curves)
    ends = [end for p in summary["pairs"] for end in [p["ratio"], *(p["interval"] or [])] if end]
    reach = max([1.12, *(max(end, 1 / end) ** 1.1 for end in ends)])
    return environment.get_template("report.html.j2").render(
        s=summary,
        benchmark=benchmark,
        colour={name: i % figures.COLOURS for i, name in enumerate(summary["entrants"])},
        headline=text.headline(summary),
        power=text.resolving_power(summary),
        unit=text.UNITS[summary["ranked_by"]],
        interval=text.interval,
        strips=[figures.strip(p["ratio"], p["interval"], min(reach, 8.0)) for p in summary["pairs"]],
        reach=min(reach, 8.0),
        pairs_shown=PAIRS_SHOWN,
        best=_best(summary),
        figures=_figures(results, summary, live),
        curves=curves,
        errors={name: _standard_error(results, name) for name in summary["workloads"]},
        script=interactive.script() if live and drawn else None,
        command=rerun_command(results),
        facts=_facts(results),
        costs=_costs(results),
    )


def rerun_command(results: Results) -> str:
    """The command that repeats this board on the same seed, and that goes on with an unfinished one."""
    benchmark = results.benchmark
    entrants = ",".join(e.source if e.source == e.name else f"{e.name}={e.source}" for e in benchmark.entrants)
    parts = ["algoperf-lite", "run", benchmark.source or benchmark.name]
    parts += ["--workloads", ",".join(info.source for info in benchmark.workloads.values())]
    drawn = ["--nonce", benchmark.nonce] if benchmark.nonce is not None else ["--seed", str(benchmark.seed)]
    parts += ["--submissions", entrants, *drawn, "--studies", str(benchmark.studies)]
    if any(size > 1 for size in benchmark.mesh.values()):
        parts += ["--mesh", ",".join(f"{axis}={size}" for axis, size in benchmark.mesh.items())]
    parts += ["--smoke"] if benchmark.smoke else []
    path = results.path
    return shlex.join([*parts, "--out", path.name if path.is_absolute() else str(path)])  # no home path in a report


def _best(summary: dict[str, Any]) -> dict[str, float | None]:
    """Smallest median by workload."""
    times = summary["time_to_target"].values()
    known = {w: [row[w] for row in times if row[w] is not None] for w in summary["workloads"]}
    return {workload: min(values, default=None) for workload, values in known.items()}


def _figures(results: Results, summary: dict[str, Any], live: bool) -> dict[str, Markup]:
    """Profile and dot plot; empty before the board is complete."""
    if not summary["cells"]:
        return {}
    board = results.board
    times = scoring.study_times(board, board.unit)
    medians = scoring.medians(times)
    names = [workload.name for workload in board.workloads]
    found = {"dots": figures.dots(names, board.entrants, medians, times)}
    if summary["scores"]:
        numbers = board.entrants, scoring.TAUS, scoring.profile(scoring.ratios(medians))
        found["profile"] = figures.profile(*numbers) + (interactive.profile(*numbers) if live else "")
    return found


def _curves(results: Results, workload: str, live: bool) -> Markup | None:
    """Every trial faint; bold, per entrant, the trial that stands for the median study."""
    info = results.benchmark.workloads[workload]
    faint, bold = [], []
    for i, entrant in enumerate(results.board.entrants):
        runs = [run for key, run in sorted(results.runs.items()) if key[:2] == (entrant, workload) and run.events]
        faint += [(i, _line(run, info.metric), _label(run)) for run in runs]
        middle = median_run(runs, info.metric, info.direction == "max")
        if middle:
            bold.append((i, _line(middle, info.metric), _label(middle)))
    if not faint:
        return None
    title, target, maximise = f"Learning curves on {workload}", info.validation_target, info.direction == "max"
    still = figures.curves(title, [row[:2] for row in faint], [row[:2] for row in bold], target, maximise)
    if not live:
        return still
    return still + interactive.curves(
        title, faint, bold, target, figures.limits([row[1] for row in faint], target, maximise)
    )


def _label(run: Run) -> str:
    """What a reader wants to know of one curve, in lines."""
    spec = run.spec
    values = [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in spec.hparams.items()
    ]
    return "\n".join([f"{spec.entrant}, study {spec.study}, trial {spec.trial}", *values])


def _standard_error(results: Results, workload: str) -> float | None:
    """Of one evaluation on the validation split, at the evaluation that came nearest to the target (P10)."""
    info = results.benchmark.workloads[workload]
    known = [
        (abs(value - info.validation_target), error)
        for run in results.runs.values()
        for event in run.events
        if run.spec.workload == workload
        and (value := event.validation.get(info.metric)) is not None
        and (error := event.validation.get(f"{info.metric}_se")) is not None
    ]
    return min(known)[1] if known else None


def _line(run: Run, metric: str) -> figures.Line:
    return [event.reference_steps for event in run.events], [event.validation.get(metric) for event in run.events]


def _facts(results: Results) -> list[tuple[str, str]]:
    """What a rerun must agree in: benchmark.json's hash, seed, versions, machines."""
    benchmark = results.benchmark
    file = results.path / "benchmark.json"
    facts = [("benchmark.json sha256", hashlib.sha256(file.read_bytes()).hexdigest())] if file.is_file() else []
    facts += [
        ("ruleset", "external tuning" if benchmark.ruleset == "external" else "self-tuning"),
        ("board seed", str(benchmark.seed)),
        ("driver", benchmark.driver),
        ("mesh", ", ".join(f"{axis}={size}" for axis, size in benchmark.mesh.items()) or "one device"),
        ("hosts", ", ".join(results.hosts) or "none yet"),
    ]
    facts += [(key, _flat(value)) for key, value in sorted(benchmark.manifest.items())]
    for extension in benchmark.extensions:
        what = ", ".join(extension.entrants) or f"{extension.studies} studies"
        facts.append((f"extended {extension.date}", f"{what}; benchmark.json before: {extension.sha256_before[:16]}"))
    return facts


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(v)}" for key, v in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _costs(results: Results) -> list[dict[str, Any]]:
    """Cost factors by entrant: the range over workloads and static hyperparameters, and the charge of `build`."""
    rows = []
    for entrant in results.benchmark.entrants:
        costs = [c for by_static in results.benchmark.costs.get(entrant.name, {}).values() for c in by_static.values()]
        factors = [cost.factor for cost in costs]
        rows.append(
            {
                "entrant": entrant,
                "factor": (min(factors), max(factors)) if factors else None,
                "build_s": max((cost.build_s for cost in costs), default=None),
            }
        )
    return rows
