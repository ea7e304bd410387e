"""NadamW after v0.5's convention (pmap), in a tree of its author's; its rule is optax's with AlgoPerf's correction."""

import chex
import jax
import jax.numpy as jnp
import optax
from algorithmic_efficiency import spec
from reference_algorithms.shared.rules import replicated, train_step
from torch.optim.lr_scheduler import CosineAnnealingLR  # noqa: F401


def look_ahead(b1, b2, eps) -> optax.GradientTransformation:
    def init(params):
        return {"count": jnp.zeros([], jnp.int32), "m": jax.tree_map(jnp.zeros_like, params), "v": params}

    def update(grads, state, params=None):
        count: chex.Array = state["count"] + 1
        m = jax.tree_map(lambda g, m: (1 - b1) * g + b1 * m, grads, state["m"])
        v = jax.tree_map(lambda g, v: (1 - b2) * g**2 + b2 * v, grads, state["v"])
        n = jax.tree_map(lambda g, m: ((1 - b1) * g + b1 * m) / (1 - b1**count), grads, m)
        out = jax.tree_map(lambda n, v: n / (jnp.sqrt(v / (1 - b2**count)) + eps), n, v)
        return out, {"count": count, "m": m, "v": v}

    return optax.GradientTransformation(init, update)


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del model_params, model_state, rng
    warmup = int(hyperparameters.warmup_factor * workload.step_hint)
    rate = optax.join_schedules(
        [
            optax.linear_schedule(0.0, hyperparameters.learning_rate, warmup),
            optax.cosine_decay_schedule(hyperparameters.learning_rate, max(workload.step_hint - warmup, 1)),
        ],
        [warmup],
    )
    init, update = optax.chain(
        look_ahead(1 - hyperparameters.one_minus_beta1, hyperparameters.beta2, 1e-8),
        optax.add_decayed_weights(hyperparameters.weight_decay),
        optax.scale_by_schedule(lambda count: -rate(count)),
    )
    zeros = jax.tree_map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    return replicated(init(zeros)), update


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch,
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results,
    global_step: int,
    rng: spec.RandomState,
) -> spec.UpdateReturn:
    del current_params_types, loss_type, eval_results, global_step
    state, update = optimizer_state
    rngs = jax.random.split(rng, jax.local_device_count())
    smoothing = hyperparameters.label_smoothing if hasattr(hyperparameters, "label_smoothing") else 0.0
    clip = hyperparameters.grad_clip if hasattr(hyperparameters, "grad_clip") else None
    state, params, model_state, _ = train_step(
        workload, update, model_state, state, current_param_container, batch, rngs, clip, smoothing
    )
    return (state, update), params, model_state


def get_batch_size(workload_name):
    if workload_name == "mnist":
        return 16
    raise ValueError(f"Unsupported workload name: {workload_name}.")


def data_selection(
    workload,
    input_queue,
    optimizer_state,
    current_param_container,
    model_state,
    hyperparameters,
    global_step,
    rng,
):
    return next(input_queue)
