"""Cost factors and build charges (PROTOCOL P2, P4): measured once per board, side by side with the reference."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from algoperf_lite import errors, records, search
from algoperf_lite.clock import Clock
from algoperf_lite.engine import Programs, Repeated, compile_programs

BLOCKS = 20  # interleaved ABBA blocks; 5 where PERIOD is over 25
MIN_STEPS = 8  # per block
MAX_COMPILE_RATIO = 10.0  # P2; compilation under COMPILE_FLOOR_S is always fine, a cached one says nothing
COMPILE_FLOOR_S = 60.0


def cost(
    programs: Programs,
    reference: Programs,
    hparams: dict[str, Any],
    reference_hparams: dict[str, Any],
    budget_factor: float,
    clock: Clock,
) -> records.Cost:
    """Cost factor, build charge and step cap of one (entrant, workload, static hyperparameters).

    Raises:
      UserError: compilation took over ten times the reference's.
    """
    workload = programs.bench.workload
    if clock.agree(programs.compile_s > COMPILE_FLOOR_S):
        _check_compile_time(programs, reference, reference_hparams, clock)
    factor, blocks = 1.0, 0
    is_reference = programs.submission.sha256 == reference.submission.sha256
    repeated = Repeated(reference, reference_hparams, clock.charge)
    if is_reference:
        reference_s = float(np.median([repeated.seconds() for _ in range(3)])) / workload.interval
    else:
        period = programs.submission.PERIOD
        blocks = 5 if period > 25 else BLOCKS
        chunks = math.ceil(max(MIN_STEPS, period) / workload.interval)
        entrant = Repeated(programs, hparams, clock.charge)
        factor, reference_block_s = _factor(entrant, repeated, chunks, blocks)
        reference_s = reference_block_s / (chunks * workload.interval)
    return records.Cost(
        factor=factor,
        build_s=0.0 if is_reference else max(programs.build_s - reference.build_s, 0.0),
        step_cap=search.step_cap(workload.step_budget, workload.interval, budget_factor, factor),
        compile_s=programs.compile_s,
        blocks=blocks,
        reference_step_s=reference_s,
    )


def unmeasured(benchmark: records.Benchmark, info: records.WorkloadInfo) -> records.Cost:
    """The cost of what is not, or cannot be, measured: factor 1, no charge; of a smoke run, a cap of two evaluations."""
    cap = search.step_cap(info.step_budget, info.interval, benchmark.budget_factor, 1.0)
    cap = min(cap, 2 * info.interval) if benchmark.smoke else cap
    return records.Cost(factor=1.0, build_s=0.0, step_cap=cap, compile_s=0.0, blocks=0, reference_step_s=0.0)


def _factor(entrant: Repeated, reference: Repeated, chunks: int, blocks: int) -> tuple[float, float]:
    """(median over ABBA blocks of `chunks` chunks of the time ratio, median seconds of the reference's block)."""

    def block(runner: Repeated) -> float:
        return sum(runner.seconds() for _ in range(chunks))

    for runner in (entrant, reference):
        runner.seconds()
    ratios, seconds = [], []
    for _ in range(blocks):
        a1, b1, b2, a2 = block(entrant), block(reference), block(reference), block(entrant)
        ratios.append((a1 + a2) / (b1 + b2))
        seconds.append((b1 + b2) / 2)
    return float(np.median(ratios)), float(np.median(seconds))


def _check_compile_time(programs: Programs, reference: Programs, reference_hparams: dict[str, Any], clock: Clock) -> None:
    """P2's bound. The reference is compiled anew without the persistent cache, which would make it look quick."""
    with uncached():
        cold = compile_programs(reference.bench, reference.submission, reference_hparams).compile_s
    if clock.agree(programs.compile_s > MAX_COMPILE_RATIO * cold):
        raise errors.UserError(
            f"submission {programs.submission.name} on {programs.bench.workload.name}: compilation took "
            f"{programs.compile_s:.0f} s, the reference's {cold:.0f} s; "
            f"at most {MAX_COMPILE_RATIO:.0f} times as much is accepted (P2)"
        )


@contextlib.contextmanager
def uncached() -> Iterator[None]:
    """Compiles without the persistent cache inside; JAX remembers whether it is in use, so it is told to forget."""
    from jax.experimental.compilation_cache import compilation_cache

    before = jax.config.jax_enable_compilation_cache  # pyright: ignore[reportAttributeAccessIssue]: defined at run time
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)
        compilation_cache.reset_cache()
