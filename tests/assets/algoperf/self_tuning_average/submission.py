"""SGD, evaluated at an average of its iterates: a file that tunes itself and has a `prepare_for_eval`."""

import jax
import jax.numpy as jnp
from algoperf import spec

HPARAMS = {"learning_rate": 0.3, "decay": 0.9, "label_smoothing": 0.1}


def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    del workload, model_state, rng
    assert hyperparameters is None
    return {"average": jax.tree.map(jnp.array, model_params), "fast": None}, None


@jax.jit
def average_of(average, params):
    return jax.tree.map(lambda a, p: HPARAMS["decay"] * a + (1 - HPARAMS["decay"]) * p, average, params)


def step(workload, params, model_state, batch, rng):
    def mean(params):
        logits, new_state = workload.model_fn(
            params, batch, model_state, spec.ForwardPassMode.TRAIN, rng, update_batch_norm=True
        )
        loss = workload.loss_fn(batch["targets"], logits, batch.get("weights"), HPARAMS["label_smoothing"])
        return loss["summed"] / loss["n_valid_examples"], new_state

    grad, model_state = jax.grad(mean, has_aux=True)(params)
    return jax.tree.map(lambda p, g: p - HPARAMS["learning_rate"] * g, params, grad), model_state


def update_params(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    batch,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    del current_params_types, hyperparameters, loss_type, global_step
    assert eval_results == []
    state, _ = optimizer_state
    params = current_param_container if state["fast"] is None else state["fast"]
    params, model_state = jax.jit(step, static_argnums=0)(workload, params, model_state, batch, rng)
    return ({"average": average_of(state["average"], params), "fast": None}, None), params, model_state


def prepare_for_eval(
    workload,
    current_param_container,
    current_params_types,
    model_state,
    hyperparameters,
    loss_type,
    optimizer_state,
    eval_results,
    global_step,
    rng,
):
    del workload, current_params_types, hyperparameters, loss_type, eval_results, rng
    assert global_step > 0
    state, _ = optimizer_state
    kept = {"average": state["average"], "fast": current_param_container}
    return (kept, None), state["average"], model_state


def get_batch_size(workload_name):
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
