"""A helper in the author's tree, found by an absolute import. It is also where jax.pmap is."""

import functools

import jax
import optax
from algorithmic_efficiency import spec
from flax import jax_utils


@functools.partial(
    jax.pmap,
    axis_name="batch",
    in_axes=(None, None, 0, 0, 0, 0, 0, None, None),
    static_broadcasted_argnums=(0, 1),
    donate_argnums=(2, 3, 4),
)
def train_step(workload, update, model_state, state, params, batch, rng, grad_clip, label_smoothing):
    def summed(params):
        logits, new_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"), label_smoothing)
        return loss["summed"], (loss["n_valid_examples"], new_state)

    (loss, (count, model_state)), grad = jax.value_and_grad(summed, has_aux=True)(params)
    loss, count, grad = jax.lax.psum((loss, count, grad), axis_name="batch")
    grad = jax.tree_map(lambda g: g / count, grad)
    if grad_clip is not None:
        grad = jax.tree_map(lambda g: g * jax.numpy.clip(grad_clip, a_min=None, a_max=1.0), grad)
    updates, state = update(grad, state, params)
    return state, optax.apply_updates(params, updates), model_state, loss / count


def replicated(state):
    return jax_utils.replicate(state)
