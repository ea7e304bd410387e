"""Transformations that keep their state in float32 or better, whatever the type of the parameters."""

import jax
import jax.numpy as jnp
import optax


def at_least_float32(inner: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Runs `inner` on parameters and updates widened to float32; its updates come back in the types they came in.

    Several of optax's methods keep their sums in the lowest type among the parameters, and in bfloat16 a sum of equal
    terms stops at 256 of them. Wider types than float32 are left as they are. Every array of the first state is a buffer
    of its own, so that parameters and state can be donated together. Extra arguments are passed on as they are: functions
    of the parameters get wide ones.
    """
    inner = optax.with_extra_args_support(inner)

    def wide(tree):
        return jax.tree.map(lambda x: jnp.asarray(x, jnp.promote_types(jnp.result_type(x), jnp.float32)), tree)

    def init(params):
        return jax.tree.map(jnp.copy, inner.init(wide(params)))

    def update(updates, state, params=None, **extra_args):
        found, state = inner.update(wide(updates), state, None if params is None else wide(params), **extra_args)
        return jax.tree.map(lambda u, like: u.astype(jnp.result_type(like)), found, updates), state

    return optax.GradientTransformationExtraArgs(init, update)
