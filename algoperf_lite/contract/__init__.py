"""The contract checks that `validate` runs on a submission or a workload: one line each, with the mend."""

import functools
import time
from collections.abc import Iterator

from algoperf_lite import errors, registry
from algoperf_lite.adapters.algoperf.entry import Entry
from algoperf_lite.contract import algoperf, submissions, workloads
from algoperf_lite.contract.checking import Failure, Result, check
from algoperf_lite.data import fetch

__all__ = ["Failure", "Result", "validate_submission", "validate_workload"]


def validate_submission(name_or_path: str, *, quick: bool = False) -> Iterator[Result]:
    """All checks of a submission; the first line is that it loads.

    Args:
      quick: only what a small problem shows, in seconds; not the micro workloads, eight devices and the cost of a step.
    """
    try:
        entry = registry.load_submission(name_or_path)
    except errors.UserError as e:
        yield Result("the file loads", False, str(e))
        return
    yield Result("the file loads", True, f"sha256 {entry.sha256[:12]}")
    if isinstance(entry, Entry):
        yield from check(algoperf.Checks(entry).all(), entry)
        return
    runs = True
    for result in check(submissions.CHECKS, entry):
        runs = runs and result.ok
        yield result
    if not quick and runs:
        yield from check(submissions.on_workloads(entry), entry)


def validate_workload(name_or_path: str) -> Iterator[Result]:
    """All checks of a workload; the first line is that it loads."""
    start = time.perf_counter()
    try:
        workload = registry.load_workload(name_or_path)
        for name in workload.data:
            fetch.find(name)
        data = workload.load()
    except errors.EnvironmentFault:  # no fault of the workload
        raise
    except errors.UserError as e:
        yield Result("the file and its data load", False, str(e))
        return
    yield Result("the file and its data load", True, f"{time.perf_counter() - start:.1f} s")
    yield from check(workloads.CHECKS, workload, data)
    for variant in registry.variants(name_or_path):
        yield from check([(functools.partial(workloads.variant, variant), "see docs/workload.md, Held-out variants")], data)
