"""NadamW after AlgoPerf 0.6's convention (jit), with a helper beside it."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import optax
from algoperf import jax_sharding_utils, spec

from .rules import nadamw, schedule


def init_optimizer_state(
    workload: spec.Workload,
    model_params: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    rng: spec.RandomState,
) -> spec.OptimizerState:
    del model_params, model_state, rng
    rate = schedule(hyperparameters.learning_rate, hyperparameters.warmup_factor, workload.step_hint)
    optimizer = nadamw(rate, 1 - hyperparameters.one_minus_beta1, hyperparameters.beta2, 1e-8, hyperparameters.weight_decay)
    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape_tuple), workload.param_shapes)
    return optimizer.init(zeros), optimizer.update


def train_step(workload, update, model_state, state, params, batch, rng, label_smoothing, dropout_rate):
    def summed(params):
        logits, new_state = workload.model_fn(
            params,
            batch,
            model_state,
            spec.ForwardPassMode.TRAIN,
            rng,
            update_batch_norm=True,
            dropout_rate=dropout_rate,
        )
        loss = workload.loss_fn(
            label_batch=batch["targets"],
            logits_batch=logits,
            mask_batch=batch.get("weights"),
            label_smoothing=label_smoothing,
        )
        return loss["summed"], (loss["n_valid_examples"], new_state)

    (_, (count, model_state)), grad = jax.value_and_grad(summed, has_aux=True)(params)
    grad = jax.tree.map(lambda g: g / count, grad)
    updates, state = update(grad, state, params)
    return state, optax.apply_updates(params, updates), model_state


def update_params(
    workload: spec.Workload,
    current_param_container: spec.ParameterContainer,
    current_params_types: spec.ParameterTypeTree,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    batch: dict[str, spec.Tensor],
    loss_type: spec.LossType,
    optimizer_state: spec.OptimizerState,
    eval_results,
    global_step: int,
    rng: spec.RandomState,
    train_state=None,
) -> spec.UpdateReturn:
    del current_params_types, loss_type, eval_results, global_step
    assert train_state["is_time_remaining"]
    state, update = optimizer_state
    everywhere, split = jax_sharding_utils.get_replicate_sharding(), jax_sharding_utils.get_batch_dim_sharding()
    step = jax.jit(
        train_step,
        static_argnums=(0, 1),
        donate_argnums=(2, 3, 4),
        in_shardings=(everywhere, everywhere, everywhere, split, everywhere, everywhere, everywhere),
        out_shardings=(everywhere, everywhere, everywhere),
    )
    smoothing = getattr(hyperparameters, "label_smoothing", 0.0)
    state, params, model_state = step(
        workload,
        update,
        model_state,
        state,
        current_param_container,
        batch,
        rng,
        smoothing,
        hyperparameters.dropout_rate,
    )
    return (state, update), params, model_state


def get_batch_size(workload_name):
    return {"imagenet_vit": 1024, "mnist": 16}[workload_name]


def data_selection(
    workload: spec.Workload,
    input_queue: Iterator[dict[str, spec.Tensor]],
    optimizer_state: spec.OptimizerState,
    current_param_container: spec.ParameterContainer,
    model_state: spec.ModelAuxiliaryState,
    hyperparameters: spec.Hyperparameters,
    global_step: int,
    rng: spec.RandomState,
) -> dict[str, spec.Tensor]:
    del workload, optimizer_state, current_param_container, model_state, hyperparameters, global_step, rng
    return next(input_queue)
