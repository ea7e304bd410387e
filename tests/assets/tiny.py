"""A workload for tests: softmax regression on Gaussian clusters, 20 evaluations of 8 steps, milliseconds each."""

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite import spec

DIM, CLASSES, BATCH = 8, 4, 16
VARIANTS = {"still": {"running": False}, "fresh": {"running": False}}  # `fresh` has no record of targets


def build(*, target: float = 0.9, running: bool = True, step_budget: int = 160) -> spec.Workload:
    """`running`: with running statistics of the inputs, as batch norm has."""
    return spec.Workload(
        name="tiny",
        version=1,
        family="test",
        tier="micro",
        metric="accuracy",
        direction="max",
        validation_target=target,
        test_target=target,
        batch_size=BATCH,
        step_budget=step_budget,
        evaluations=20,
        eval_batch_size=64,
        num_train_examples=512,
        load=load,
        init=lambda key: init(key, running),
        batch=batch,
        loss=loss,
        evaluate=evaluate,
        finalise=finalise,
        roles={
            "bias": spec.Role("bias", 1, CLASSES, 1, CLASSES),
            "kernel": spec.Role("readout", DIM, CLASSES, DIM, CLASSES),
        },
        provenance="tests",
        batch_stats_batches=2 if running else 0,
    )


def load():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, DIM)).astype(np.float32)

    def split(n):
        label = rng.integers(0, CLASSES, n).astype(np.int32)
        x = centres[label] + 0.6 * rng.standard_normal((n, DIM)).astype(np.float32)
        return {"x": x.astype(np.float32), "label": label}

    return {"train": split(512), "eval_train": split(64), "validation": split(200), "test": split(200)}


def init(key, running):
    kernel = 0.1 * jax.random.normal(key, (DIM, CLASSES))
    state = {"mean": jnp.zeros((DIM,))} if running else {}
    return {"kernel": kernel, "bias": jnp.zeros((CLASSES,))}, state


def batch(data, key, step):
    rows = jax.random.randint(jax.random.fold_in(key, step), (BATCH,), 0, 512)
    return {name: leaf[rows] for name, leaf in data["train"].items()}


def loss(params, model_state, batch, key, train, reg):
    x, state = batch["x"], model_state
    if train and state:
        mean = jnp.mean(x, axis=0)
        x, state = x - mean, {"mean": 0.9 * state["mean"] + 0.1 * mean}
    if train:
        keep = jax.random.uniform(key, x.shape) >= reg.dropout_rate
        x = jnp.where(keep, x, 0.0)
    log_p = jax.nn.log_softmax(x @ params["kernel"] + params["bias"])
    hot = jax.nn.one_hot(batch["label"], CLASSES, dtype=jnp.float32)
    soft = hot * (1 - reg.label_smoothing) + reg.label_smoothing / CLASSES
    return -jnp.mean(jnp.sum(soft * log_p, axis=-1)), state


def evaluate(params, model_state, batch):
    x = batch["x"] - model_state["mean"] if model_state else batch["x"]
    right = jnp.argmax(x @ params["kernel"] + params["bias"], axis=-1) == batch["label"]
    return {"right": jnp.sum(right * batch["mask"]), "count": jnp.sum(batch["mask"])}


def finalise(sums):
    accuracy = sums["right"] / sums["count"]
    return {"accuracy": accuracy, "accuracy_se": float(np.sqrt(accuracy * (1 - accuracy) / sums["count"]))}
