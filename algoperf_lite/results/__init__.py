"""From files to one table of results, and from the table to what is said about it. Nothing here imports JAX.

`run_directory` and `algoperf_logs` read, each its own layout, into one `Results`; `summary` is `score --json`, with
`flags` for what a reader must know first; `compare` sets two runs or two submissions side by side.
"""

import pathlib
from typing import Any

from algoperf_lite import config, errors
from algoperf_lite.results.summary import summarise
from algoperf_lite.results.table import About, Results, Run, median_run

__all__ = ["About", "Results", "Run", "median_run", "read", "score", "summarise"]


def read(path: str | pathlib.Path, benchmark: str | None = None) -> Results:
    """A run directory, or with `benchmark` (a name or path of a board of AlgoPerf's logs) a folder of such logs."""
    if benchmark is None:
        from algoperf_lite.results import run_directory

        path = pathlib.Path(path)
        if not (path / "benchmark.json").exists() and any(path.glob("*/study_*")):
            raise errors.UserError(
                f"{path} is no run directory; if it holds logs of AlgoPerf, name their board: --benchmark "
                f"{', '.join(config.log_boards())}"
            )
        return run_directory.read(path)
    from algoperf_lite.results import algoperf_logs

    return algoperf_logs.read(path, benchmark)


def score(path: str | pathlib.Path, benchmark: str | None = None) -> dict[str, Any]:
    """`score --json` of a run directory or of AlgoPerf's logs. See `summarise`."""
    return summarise(read(path, benchmark))
