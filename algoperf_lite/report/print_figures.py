"""Figures for papers, PDF and SVG by matplotlib (extra `[report]`): the profile, and learning curves per workload."""

import pathlib

import scoring
from algoperf_lite.results import Results, median_run

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#555555")  # Okabe and Ito


def write(results: Results, folder: pathlib.Path) -> None:
    """Write profile.{pdf,svg} and curves_WORKLOAD.{pdf,svg} of a complete board."""
    import matplotlib.figure

    folder.mkdir(parents=True, exist_ok=True)
    board = results.board

    def new():
        figure = matplotlib.figure.Figure(figsize=(4.2, 2.8), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        return figure, axes

    def save(figure, name: str) -> None:
        for suffix in ("pdf", "svg"):
            figure.savefig(folder / f"{name}.{suffix}")

    ratio = scoring.ratios(scoring.medians(scoring.study_times(board, board.unit)))
    figure, axes = new()
    for i, (name, rho) in enumerate(zip(board.entrants, scoring.profile(ratio), strict=True)):
        axes.step(scoring.TAUS, rho, where="post", color=COLOURS[i % len(COLOURS)], label=_label(name))
    axes.set(xlabel="within this factor of the fastest", ylabel="share of workloads", xlim=(1, 4), ylim=(0, 1.02))
    axes.legend(frameon=False)
    save(figure, "profile")
    for workload in board.workloads:
        figure, axes = new()
        for i, entrant in enumerate(board.entrants):
            runs = [r for key, r in sorted(results.runs.items()) if key[:2] == (entrant, workload.name) and r.events]
            middle = median_run(runs, workload.metric, workload.direction == "max")
            for run in runs:
                xs = [event.reference_steps for event in run.events]
                ys = [event.validation.get(workload.metric) for event in run.events]
                values = [float("nan") if y is None else y for y in ys]
                bold = run is middle
                axes.plot(
                    xs,
                    values,
                    color=COLOURS[i % len(COLOURS)],
                    alpha=1 if bold else 0.25,
                    lw=1.8 if bold else 0.8,
                    label=_label(entrant) if bold else None,
                )
        axes.axhline(workload.target, color="black", ls=":", lw=1)
        axes.set(xlabel="charged reference steps", ylabel=workload.metric, title=workload.name)
        axes.legend(frameon=False)
        save(figure, f"curves_{workload.name}")


def _label(name: str) -> str:
    """A name as matplotlib takes it: no formula, and short enough to leave room for the plot."""
    short = name if len(name) <= 24 else name[:23] + "\N{HORIZONTAL ELLIPSIS}"
    return short.replace("$", r"\$")
