"""Time per step in the harness over a hand-written loop of the same step, in interleaved pairs.

Run: python benchmarks/overhead.py [--workloads digits_vit,markov_lm] [--pairs 30] [--out benchmarks/results/overhead.json]

Four columns per workload, each the median over pairs of blocks of one evaluation interval, order alternating. All are wall
times around the whole block, so what the harness does between the charged edges and around them counts too:
  harness / loop   what `trial.run` does per interval (step number, `Clock.charge` of the compiled chunk, losses fetched),
                   over a loop written by hand: `jax.jit` of one step in a Python `for`, blocked on at the end
  harness / scan   the same over a hand-written `jax.jit` of a `lax.scan` of that step: no dispatch to hide behind
  loop / loop      the A/A control: what the machine's noise alone gives
  scan / dispatch  the engine's scanned chunk over the engine's own step dispatched one by one
The harness should stay at or below 1.02 of what is written by hand.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import cli, engine, environment, errors, mesh, records, registry, spec, training
from algoperf_lite.clock import Clock
from algoperf_lite.submission import Submission


def shortened(workload: spec.Workload) -> spec.Workload:
    """Blocks of at most 16 steps: long intervals would take hours, and per step they cost the harness less, not more."""
    evaluations = workload.step_budget // 8
    too_long = workload.interval > 16 and workload.step_budget % evaluations == 0
    return dataclasses.replace(workload, evaluations=evaluations) if too_long else workload


def by_hand(workload: spec.Workload, bench: engine.Bench, submission: Submission, hparams: dict, *, scan: bool = False):
    """A training loop as one would write it without the harness; shares no code with the engine."""
    tx = submission.build(workload.problem(), hparams)
    key = jax.random.key(0)

    def step(state, data, number):
        params, model_state, opt_state = state
        batch = workload.batch(data, jax.random.fold_in(key, 1), number)

        def loss(p):
            return workload.loss(p, model_state, batch, jax.random.fold_in(key, number), True, spec.NO_REG)

        (value, model_state), grad = jax.value_and_grad(loss, has_aux=True)(params)
        extra = {"value": value, "grad": grad, "value_fn": lambda p: loss(p)[0]}
        updates, opt_state = tx.update(grad, opt_state, params, **extra)
        return (optax.apply_updates(params, updates), model_state, opt_state), value

    def scanned(state, data, numbers):
        return jax.lax.scan(lambda s, i: step(s, data, i), state, numbers)

    compiled = jax.jit(scanned if scan else step, donate_argnums=0)
    params, model_state = jax.jit(workload.init)(key)
    states = [training.strong((params, model_state, jax.jit(tx.init)(params)))]
    every = jnp.arange(workload.interval, dtype=jnp.int32)
    numbers = [every] if scan else [jnp.int32(i) for i in range(workload.interval)]

    def block() -> float:
        jax.block_until_ready(states)
        start = time.perf_counter()
        value = None
        for number in numbers:
            states[0], value = compiled(states[0], bench.data, number)
        np.asarray(value)
        jax.block_until_ready(states)
        return time.perf_counter() - start

    return block


def in_harness(programs: engine.Programs, hparams: dict, clock: Clock):
    """One interval as the trial loop runs it, with all that stands around the charged call."""
    hyper, key, data = programs.hyper(hparams), programs.key(0), programs.bench.data
    params, model_state = programs.start(key)
    state = [training.Carry(params, model_state, programs.opt_init(params, hyper))]

    def block() -> float:
        jax.block_until_ready(state)
        start = time.perf_counter()
        number = programs.step_number(0)
        (state[0], losses), _ = clock.charge(programs.chunk, state[0], hyper, data, key, number)
        np.asarray(losses)
        return time.perf_counter() - start

    return block


def dispatched(programs: engine.Programs, hparams: dict):
    """The engine's step, one call a step."""
    step = engine.dispatch_step(programs, hparams)
    hyper, key, data = programs.hyper(hparams), programs.key(0), programs.bench.data
    params, model_state = programs.start(key)
    state = [training.Carry(params, model_state, programs.opt_init(params, hyper))]
    numbers = [programs.step_number(i) for i in range(programs.bench.workload.interval)]

    def block() -> float:
        jax.block_until_ready(state)
        start = time.perf_counter()
        loss = None
        for number in numbers:
            state[0], loss = step(state[0], hyper, data, key, number)
        jax.block_until_ready((state, loss))
        return time.perf_counter() - start

    return block


def ratio(a, b, pairs: int) -> dict[str, float]:
    """Median and quartiles of a / b over interleaved pairs (a b, b a, a b, ...)."""
    for block in (a, b):
        block()
    ratios = []
    for i in range(pairs):
        if i % 2:
            second, first = b(), a()
        else:
            first, second = a(), b()
        ratios.append(first / second)
    low, median, high = np.percentile(ratios, (25, 50, 75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def main() -> int:
    """Prints a table; 1 where the harness costs over 2 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", default="digits_resnet,digits_vit,markov_lm,shakespeare_lm")
    parser.add_argument("--submission", default="nadamw")
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    environment.setup()
    submission = registry.load_submission(args.submission)
    hparams = submission.resolve({})
    result = {"manifest": environment.manifest(), "pairs": args.pairs, "date": records.utc(), "workloads": {}}
    print(f"load average {os.getloadavg()[0]:.2f} on {environment.usable_cores()} cores, {args.pairs} pairs")
    columns = ("harness / loop", "harness / scan", "loop / loop", "scan / dispatch")
    print(f"{'workload':<16}" + "".join(f"{c:>24}" for c in columns))
    worst = 0.0
    for name in cli.comma_list(args.workloads):
        try:
            workload = shortened(registry.load_workload(name))
            bench = engine.compile_bench(workload, mesh.make({"data": 1, "fsdp": 1}))
        except errors.EnvironmentFault as e:
            print(f"{name:<16} left out: {e}")
            continue
        programs = engine.compile_programs(bench, submission, hparams)
        harness = in_harness(programs, hparams, Clock())
        loop, twin = (by_hand(workload, bench, submission, hparams) for _ in range(2))
        scan = by_hand(workload, bench, submission, hparams, scan=True)
        others = (harness, loop), (harness, scan), (loop, twin), (harness, dispatched(programs, hparams))
        row = {column: ratio(*pair, args.pairs) for column, pair in zip(columns, others, strict=True)}
        result["workloads"][name] = row
        worst = max(worst, row["harness / loop"]["median"], row["harness / scan"]["median"])
        cells = (f"{r['median']:.3f} ({r['low']:.3f} to {r['high']:.3f})" for r in row.values())
        print(f"{name:<16}" + "".join(f"{c:>24}" for c in cells), flush=True)
        if args.out:
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"load average at the end {os.getloadavg()[0]:.2f}; medians with quartiles")
    return int(worst > 1.02)


if __name__ == "__main__":
    sys.exit(main())
