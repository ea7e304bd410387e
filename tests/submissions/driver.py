"""Drives a shipped submission on `problem.NoisyQuadratic`, in closed loop, in double precision unless told otherwise."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import registry, spec, training
from tests.submissions.problem import NoisyQuadratic, Trajectory

BUDGET = 100
CONSTANT = {"warmup_fraction": 0.0, "horizon_fraction": 1e9}
"""A schedule that stays at its peak, for oracles without one."""
PARTS = (2, 4, 8)
"""Numbers of parts in which `micro_grad_fn` gives a batch."""


def drive(
    name: str,
    hparams: Mapping[str, Any],
    problem: NoisyQuadratic,
    steps: int,
    *,
    step_budget: int = BUDGET,
    roles: spec.PyTree | None = None,
    double: bool = True,
) -> Trajectory:
    """Trajectory of a shipped submission at `hparams` (the rest from its DEFAULTS), as the engine would drive it.

    `double`: in float64, else in float32, as the engine is.
    """
    entry = registry.load_submission(name)
    with jax.enable_x64(double):
        params = jax.tree.map(jnp.asarray, problem.start)
        scale, noise = jax.tree.map(jnp.asarray, problem.scale), jax.tree.map(jnp.asarray, problem.noise)
        facts = spec.Problem.from_params(params, step_budget=step_budget, batch_size=4, roles=roles)
        point = entry.resolve(hparams)
        static = entry.static(point)
        traced = {k: jnp.asarray(v, float) for k, v in point.items() if k not in static and k not in spec.RESERVED}
        tx = optax.with_extra_args_support(entry.build(facts, {**static, **traced}))

        @jax.jit
        def update(params, state, linear, parts, key):
            def part_loss(p, linear):
                terms = jax.tree.map(lambda s, n, x: jnp.sum(s * x**2 / 2 + n * x), scale, linear, p)
                return sum(jax.tree.leaves(terms))

            def loss(p):
                return part_loss(p, linear)

            value, grad = jax.value_and_grad(loss)(params)
            extra = training.extra_args(
                entry.EXTRA_ARGS, value=value, grad=grad, loss=loss, key=key, part_loss=part_loss, parts=parts.__getitem__
            )
            updates, state = tx.update(grad, state, params, **extra)
            return optax.apply_updates(params, updates), state

        evaluate = entry.eval_params or (lambda state, params: params)
        state = jax.jit(tx.init)(params)
        seen = [(params, evaluate(state, params))]
        for t in range(steps):
            parts = {k: problem.linear_parts(t, k) for k in PARTS}
            params, state = update(params, state, noise[t], parts, jax.random.key(t))
            seen.append((params, evaluate(state, params)))
        return jax.tree.map(np.asarray, seen)


FOUND: dict[str, float] = {}
"""Largest deviation of every submission that `assert_agrees` looked at in this process, for docs/methods.md."""


def assert_agrees(name: str, ours: Trajectory, theirs: Trajectory, at_most: float) -> None:
    """Trajectory of a submission against that of a NumPy transcription of its source."""
    found = deviation(ours, theirs)
    FOUND[name] = max(found, FOUND.get(name, 0.0))
    assert found <= at_most


def deviation(ours: Trajectory, theirs: Trajectory) -> float:
    """Largest deviation of any parameter at any step, over the largest magnitude of any parameter of `theirs`."""
    assert len(ours) == len(theirs)
    largest = max(np.max(np.abs(x)) for pair in theirs for tree in pair for x in tree.values())
    gaps = (
        np.max(np.abs(a[k] - b[k]))
        for us, them in zip(ours, theirs, strict=True)
        for a, b in zip(us, them, strict=True)
        for k in b
    )
    return float(np.max(np.array(list(gaps)))) / float(largest)
