"""The submission clock (PROTOCOL P1, P2, P5): what is charged, and in which unit.

`Clock.charge` is the only place where time is taken. Both edges wait for every leaf of what goes in and of what comes
out, on all hosts, so no work of one side is charged to the other. The unit of ranking is the *charged reference step*:
seconds divided by what a step of the reference takes on this machine at about this time.
"""

import gc
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import numpy as np


class Clock:
    """Times calls of compiled programs.

    Args:
      now: seconds, monotonic; replaced in tests.
      processes: number of processes; with several, a barrier stands at each edge and the slowest is charged.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter, processes: int = 1):
        self._now = now
        self._processes = processes
        self.compilations = 0  # while charged; must stay 0

    def charge(self, program: Callable[..., Any], *args: Any) -> tuple[Any, float]:
        """Calls a program and returns (its result, seconds). No garbage is collected meanwhile.

        What is compiled meanwhile is counted and its time taken off (P2); only files that make their own steps do so.
        """
        self._edge(args)
        collecting = gc.isenabled()
        gc.disable()
        try:
            with CompilationCounter(self._now) as counter:
                start = self._now()
                result = jax.block_until_ready(program(*args))
                seconds = self._now() - start - counter.seconds
            self.compilations += counter.count
        finally:
            if collecting:
                gc.enable()
        return result, self._slowest(seconds)

    def agree(self, value: bool) -> bool:
        """Process 0's decision on all processes; what hangs on a clock must not be decided by each for itself."""
        if self._processes == 1:
            return value
        from jax.experimental import multihost_utils

        return bool(multihost_utils.broadcast_one_to_all(np.bool_(value)))

    def _edge(self, args: Any) -> None:
        jax.block_until_ready(args)
        if self._processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("clock edge")

    def _slowest(self, seconds: float) -> float:
        if self._processes == 1:
            return seconds
        from jax.experimental import multihost_utils

        return float(np.max(multihost_utils.process_allgather(np.float64(seconds))))


def reference_step_s(blocks: Sequence[tuple[int, float]], step: float) -> float:
    """Seconds per reference step at a step, interpolated linearly between block medians (P5).

    Args:
      blocks: (step at which the block was timed, seconds per reference step), in order of steps; several at one step
        count as their median.
    """
    medians = _block_medians(blocks)
    return float(np.interp(step, list(medians), list(medians.values())))


def charged_reference_steps(
    intervals: Sequence[tuple[int, int, float]],
    blocks: Sequence[tuple[int, float]],
    *,
    upfront_s: float = 0.0,
    evaluation_s: float = 0.0,
) -> float:
    """Sum over intervals of charged seconds / reference step seconds at the interval's middle (P5).

    Args:
      intervals: (first step, last step, charged seconds) of the training up to the evaluation that is read.
      blocks: as in `reference_step_s`.
      upfront_s: optimizer init and build charge, at the first block's rate.
      evaluation_s: charge of the evaluation that is read, at the rate of its step.
    """
    last = intervals[-1][1] if intervals else 0
    total = upfront_s / reference_step_s(blocks, 0)
    total += sum(s / reference_step_s(blocks, (first + end) / 2) for first, end, s in intervals)
    return total + evaluation_s / reference_step_s(blocks, last)


def drift(blocks: Sequence[tuple[int, float]]) -> float:
    """max / min of the block medians - 1 (P5)."""
    medians = _block_medians(blocks).values()
    return max(medians) / min(medians) - 1


def _block_medians(blocks: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Seconds per reference step by step; several timings at one step are one block."""
    at: dict[int, list[float]] = {}
    for step, seconds in blocks:
        at.setdefault(step, []).append(seconds)
    return {step: float(np.median(seconds)) for step, seconds in at.items()}


class CompilationCounter:
    """Counts XLA compilations (cache hits included) while active, and times them; a context manager.

    Args:
      now: seconds, monotonic, as the clock that asks has them.

    Attributes:
      count: compilations.
      seconds: spent tracing, lowering and compiling; where one lies within another, once.
    """

    EVENT = "/jax/core/compile/backend_compile_duration"
    TIMED = (EVENT, "/jax/core/compile/jaxpr_trace_duration", "/jax/core/compile/jaxpr_to_mlir_module_duration")
    _active: ClassVar[list[Any]] = []
    _registered: ClassVar[bool] = False

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self.count = 0
        self._now = now
        self._spans: list[tuple[float, float]] = []  # apart, in order

    @property
    def seconds(self) -> float:
        """As in the class."""
        return sum(end - start for start, end in self._spans)

    def __enter__(self) -> "CompilationCounter":
        # JAX cannot unregister one listener, so one is registered once and forwards to whoever counts.
        if not CompilationCounter._registered:
            jax.monitoring.register_event_duration_secs_listener(CompilationCounter._on_event)
            CompilationCounter._registered = True
        self._began = self._now()
        CompilationCounter._active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        CompilationCounter._active.remove(self)

    def _note(self, duration_secs: float) -> None:
        """Adds the span that ends now; what it holds has ended, and was noted, before."""
        end = self._now()
        start = max(end - duration_secs, self._began)
        while self._spans and self._spans[-1][0] >= start:
            self._spans.pop()
        if self._spans:
            start = max(start, self._spans[-1][1])
        self._spans.append((start, end))

    @staticmethod
    def _on_event(event: str, duration_secs: float, **_: Any) -> None:
        for counter in CompilationCounter._active:
            counter.count += event == CompilationCounter.EVENT
            if event in CompilationCounter.TIMED:
                counter._note(duration_secs)
