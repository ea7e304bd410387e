"""A small convex problem on which a submission's contract is checked in milliseconds a step."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite import environment, spec, training
from algoperf_lite.submission import Submission

STEP_BUDGET = 100
BATCH_SIZE = 8


def toy_params() -> spec.PyTree:
    """A small tree with a matrix, a bias, a scalar and a convolution kernel."""
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "dense": {"kernel": jax.random.normal(keys[0], (6, 4)), "bias": jnp.zeros((4,))},
        "conv": jax.random.normal(keys[1], (3, 3, 2, 4)) * 0.1,
        "scale": jnp.ones(()),
    }


def toy_loss(params: spec.PyTree, shift: jax.typing.ArrayLike = 0.0) -> jax.Array:
    """A convex loss that every parameter enters; `shift` moves the minimum."""
    return jnp.sum(jnp.stack([jnp.sum((leaf - 0.5 - shift) ** 2) for leaf in jax.tree.leaves(params)]))


def point_of(entry: Submission) -> dict[str, Any]:
    """DEFAULTS, else the middle of SPACE, else its first point."""
    if entry.DEFAULTS is not None:
        return entry.resolve({})
    if isinstance(entry.SPACE, list):
        return entry.resolve(entry.SPACE[0])
    return entry.resolve({n: d.at(0.5) for n, d in (entry.SPACE or {}).items()})


def row(tree: spec.PyTree) -> np.ndarray:
    """All numbers of a tree as one float64 row."""
    return np.concatenate([np.ravel(np.asarray(x, np.float64)) for x in jax.tree.leaves(tree)])


def hasty_jit(function: Callable) -> Callable:
    """Compiled in less time, for a few calls."""
    return jax.jit(function, compiler_options=environment.hasty_options())


class Toy:
    """A submission on the problem, with its point split into traced and static.

    Args:
      changed: hyperparameters in place of the point's.
      params: other ones than `toy_params()`.
    """

    def __init__(self, entry: Submission, changed: Mapping[str, Any] | None = None, params: spec.PyTree | None = None):
        self.entry, self.params = entry, toy_params() if params is None else params
        self.problem = spec.Problem.from_params(self.params, step_budget=STEP_BUDGET, batch_size=BATCH_SIZE)
        point = {**point_of(entry), **(changed or {})}
        self.point = {k: v for k, v in point.items() if k not in spec.RESERVED}
        self.static = entry.static(self.point)
        self.traced = {k: jnp.float32(v) for k, v in self.point.items() if k not in self.static}

    def init(self, params, traced):
        """The optimizer's state."""
        return training.strong(self.entry.build(self.problem, {**self.static, **traced}).init(params))

    def step(self, params, state, traced, number=0, gradient_scale=1.0):
        """(params, state) after one update; `gradient_scale` multiplies the gradient, not the loss."""
        updates, state = self.update(params, state, traced, number, gradient_scale)
        return training.strong(optax.apply_updates(params, updates)), state

    def update(self, params, state, traced, number=0, gradient_scale=1.0):
        """(updates, state) of that step."""
        tx = self.entry.build(self.problem, {**self.static, **traced})

        def part_loss(p, shift):  # with another target in every part of the batch
            still = toy_loss(jax.lax.stop_gradient(p), shift)
            return still + gradient_scale * (toy_loss(p, shift) - still)

        def loss(p):
            return part_loss(p, 0.0)

        value, grad = jax.value_and_grad(loss)(params)
        extra = training.extra_args(
            self.entry.EXTRA_ARGS,
            value=value,
            grad=grad,
            loss=loss,
            key=jax.random.fold_in(jax.random.key(0), number),
            part_loss=part_loss,
            parts=lambda k: jnp.mean(training.split(jnp.linspace(-1.0, 1.0, BATCH_SIZE), k, BATCH_SIZE), axis=1),
        )
        updates, state = tx.update(grad, state, params, **extra)
        return updates, training.strong(state)

    def start(self):
        """(params, state) before the first step."""
        return self.params, hasty_jit(self.init)(self.params, self.traced)

    def train(self, scales, begin=None, first: int = 0):
        """(params, state) after one step per gradient scale, from `begin` at step `first`, by a program of its own."""
        params, state = self.start() if begin is None else begin
        step = hasty_jit(self.step)
        for number, scale in enumerate(scales, first):
            params, state = step(params, state, self.traced, number, scale)
        return params, state

    def way(self, count: int) -> spec.PyTree:
        """Sum of the updates of that many steps from the start, in float64: what no parameter's rounding swallows."""
        params, state = self.start()
        update, total = hasty_jit(self.update), jax.tree.map(lambda p: np.zeros(p.shape), self.params)
        for number in range(count):
            updates, state = update(params, state, self.traced, number)
            params = optax.apply_updates(params, updates)
            total = jax.tree.map(lambda t, u: t + np.asarray(u, np.float64), total, updates)
        return total
