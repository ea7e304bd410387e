"""SAM over AdamW: the gradient is taken where the loss is highest nearby, at two gradients a step.

Source: Foret et al., "Sharpness-Aware Minimization" (arXiv 2010.01412), equations (2) and (3); AlgoPerf's SAM baseline,
with AdamW below and no clipping. `optax.contrib.sam` spreads one update over two steps, and trains at the ascended point.
"""

import jax
import jax.numpy as jnp
import optax

from algoperf_lite import schedules, spec

EXTRA_ARGS = ("grad_fn",)
SPACE = {
    "learning_rate": spec.log_uniform(1e-3, 1e-1),
    "rho": spec.log_uniform(1e-2, 0.2),
    "one_minus_b1": spec.log_uniform(2e-2, 0.3),
    "one_minus_b2": spec.log_uniform(2e-3, 0.1),
    "weight_decay": spec.log_uniform(1e-4, 0.5),
    "warmup_fraction": spec.uniform(0.0, 0.25),
}
# Those of `adamw`, and the paper's rho.
DEFAULTS = {
    "learning_rate": 7e-3,
    "rho": 0.05,
    "b1": 0.82,
    "b2": 0.97,
    "eps": 1e-8,
    "weight_decay": 0.005,
    "warmup_fraction": 0.2,
    "horizon_fraction": 0.75,
}


def sharpness_aware(inner: optax.GradientTransformation, rho) -> optax.GradientTransformationExtraArgs:
    """`inner` on the gradient at x + rho g / |g|, the norm over all parameters; where g is zero, at x."""
    inner = optax.with_extra_args_support(inner)

    def update(updates, state, params=None, *, grad_fn, **extra):
        norm = optax.tree.norm(jax.tree.map(lambda g: g.astype(jnp.promote_types(g.dtype, jnp.float32)), updates))
        radius = rho / jnp.where(norm > 0, norm, 1.0)
        ascended = jax.tree.map(lambda p, g: p + (radius * g).astype(p.dtype), params, updates)
        return inner.update(grad_fn(ascended)[1], state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)  # pyright: ignore[reportArgumentType]: typed as the parent class


def build(problem, hparams):
    """The decay is decoupled and multiplied by the scheduled learning rate."""
    schedule = schedules.warmup_cosine(
        hparams["learning_rate"],
        problem.step_budget,
        warmup_fraction=hparams["warmup_fraction"],
        horizon_fraction=hparams["horizon_fraction"],
    )
    adamw = optax.adamw(
        schedule, b1=hparams["b1"], b2=hparams["b2"], eps=hparams["eps"], weight_decay=hparams["weight_decay"]
    )
    return sharpness_aware(adamw, hparams["rho"])
