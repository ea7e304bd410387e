"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner, for the hidden kernels; Adam for all else.

Source: Vyas et al., "SOAP" (arXiv 2409.11321), Algorithm 3, and the authors' code (nikhilvyas/SOAP): the first step only
sets the bases and moves nothing; the decay acts after the step; where the bases turn, the second moment follows the order
of their columns alone, and the first, kept outside them, is projected anew. Kernels with more than two axes are matrices
[inputs, outputs] here, where the authors turn every axis. optax has none.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

PERIOD = 10
SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# The authors' but for the learning rate (3e-3 there), which is larger on models as small as the micro workloads'.
DEFAULTS = {
    "learning_rate": 1e-2,
    "b1": 0.95,
    "b2": 0.95,
    "eps": 1e-8,
    "weight_decay": 0.01,
    "frequency": PERIOD,
    "max_dim": 10000,
    "warmup_fraction": 0.1,
    "horizon_fraction": 0.75,
}


class SoapState(NamedTuple):
    """Moments, and for every kernel its two sides, None where a side is over `max_dim` or the parameter is no kernel."""

    count: jax.Array  # int32 scalar, updates so far
    mu: list[jax.Array]  # [rows, columns] of every parameter, float32 at least
    nu: list[jax.Array]  # the same, in the basis
    statistics: list[tuple]  # ([rows, rows] or None, [columns, columns] or None) of every parameter
    bases: list[tuple]  # the same: eigenvectors in columns, of falling eigenvalue


def _turn(x, basis):
    """x [rows, columns] in the basis (left, right)."""
    left, right = basis
    x = x if left is None else left.T @ x
    return x if right is None else x @ right


def _turn_back(x, basis):
    return _turn(x, tuple(None if q is None else q.T for q in basis))


def _eigenbasis(statistic):
    return None if statistic is None else jnp.flip(jnp.linalg.eigh(statistic)[1], axis=1)


def _refreshed(statistics, basis, nu):
    """One step of power iteration and QR on either side; the columns, and `nu` with them, by falling eigenvalue."""
    new = []
    for axis, (statistic, q) in enumerate(zip(statistics, basis, strict=True)):
        if q is None:
            new.append(None)
            continue
        product = statistic @ q
        order = jnp.argsort(-jnp.sum(q * product, axis=0))
        nu = jnp.take(nu, order, axis=axis)
        new.append(jnp.linalg.qr(product[:, order])[0])
    return tuple(new), nu


def soap(schedule, problem, b1, b2, eps, weight_decay, frequency, max_dim) -> optax.GradientTransformation:
    """The whole update, since the decay acts on the moved parameters: x <- (1 - rate decay) (x - rate step)."""
    axes = [r.input_axes(p.shape) for r, p in zip(*map(jax.tree.leaves, (problem.roles, problem.shapes)), strict=True)]

    def matrices(tree):
        """Every leaf as [rows, columns], float32 at least."""
        leaves = jax.tree.leaves(tree)
        wide = [x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in leaves]
        return [x.reshape(math.prod(x.shape[:n]), -1) for x, n in zip(wide, axes, strict=True)]

    def sides(x, n):
        return tuple(jnp.zeros((d, d), x.dtype) if n and d <= max_dim else None for d in x.shape)

    def init(params):
        zeros = [jnp.zeros_like(x) for x in matrices(params)]
        statistics, bases = ([sides(x, n) for x, n in zip(zeros, axes, strict=True)] for _ in range(2))
        return SoapState(jnp.zeros([], jnp.int32), zeros, [jnp.zeros_like(x) for x in zeros], statistics, bases)

    def update(updates, state, params=None):
        gradients, x = matrices(updates), matrices(params)
        t = state.count  # of the moving steps: the first is none
        moving = t > 0

        def moment(old, new, decay):
            return jax.tree.map(lambda m, g: jnp.where(moving, decay * m + (1 - decay) * g, m), old, new)

        mu = moment(state.mu, gradients, b1)
        turned = [_turn(g, basis) for g, basis in zip(gradients, state.bases, strict=True)]
        nu = moment(state.nu, [g**2 for g in turned], b2)
        step = [
            _turn_back(_turn(m, basis) / (jnp.sqrt(v) + eps), basis)
            for m, v, basis in zip(mu, nu, state.bases, strict=True)
        ]
        rate = jnp.where(moving, schedule(t), 0.0)
        correction = jnp.sqrt(1 - b2**t) / jnp.where(moving, 1 - b1**t, 1.0)
        change = [
            -rate * (correction * s + weight_decay * (p - rate * correction * s)) for s, p in zip(step, x, strict=True)
        ]

        statistics = [
            tuple(None if s is None else b2 * s + (1 - b2) * x @ x.T for s, x in zip(pair, (g, g.T), strict=True))
            for pair, g in zip(state.statistics, gradients, strict=True)
        ]

        def first(_):
            return [tuple(map(_eigenbasis, pair)) for pair in statistics], nu

        def refresh(bases):
            pairs = [_refreshed(*each) for each in zip(statistics, bases, nu, strict=True)]
            return [basis for basis, _ in pairs], [v for _, v in pairs]

        def keep(bases):
            return bases, nu

        which = jnp.where(moving, jnp.where(t % frequency == 0, 1, 2), 0)
        bases, nu = jax.lax.switch(which, [first, refresh, keep], state.bases)
        leaves, structure = jax.tree.flatten(updates)
        change = [c.reshape(u.shape).astype(u.dtype) for c, u in zip(change, leaves, strict=True)]
        return structure.unflatten(change), SoapState(t + 1, mu, nu, statistics, bases)

    return optax.GradientTransformation(init, update)


def build(problem, hparams):
    """Warm-up and cosine as everywhere; the schedule multiplies the decay too."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    names = ("b1", "b2", "eps", "weight_decay", "frequency", "max_dim")
    return soap(schedule, problem, **{name: hparams[name] for name in names})
