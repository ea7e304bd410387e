"""A small classification problem as plain functions, for files that are driven without the harness."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite.adapters import algoperf

FILES = pathlib.Path(__file__).resolve().parent.parent / "assets" / "algoperf"
DIM, HIDDEN, CLASSES, BATCH = 6, 5, 3, 16
POINT = {
    "learning_rate": 0.05,
    "one_minus_beta1": 0.1,
    "beta2": 0.95,
    "weight_decay": 0.02,
    "warmup_factor": 0.2,
    "dropout_rate": 0.0,
    "label_smoothing": 0.1,
}


def params(seed: int = 0):
    random = np.random.default_rng(seed)

    def draw(*shape):
        return (0.5 * random.standard_normal(shape)).astype(np.float32)

    return {
        "Dense_0": {"kernel": draw(DIM, HIDDEN), "bias": draw(HIDDEN)},
        "Dense_1": {"kernel": draw(HIDDEN, CLASSES), "bias": draw(CLASSES)},
    }


def batch(number: int, size: int = BATCH):
    random = np.random.default_rng(100 + number)
    inputs = random.standard_normal((size, DIM)).astype(np.float32)
    return {"inputs": inputs, "targets": (inputs[:, :CLASSES].argmax(1)).astype(np.int32)}


def model_fn(params, batch, model_state, mode, rng, update_batch_norm, dropout_rate):
    """Two layers; `model_state`, where there is one, holds the running mean of the inputs, which is taken off."""
    x = batch["inputs"]
    if model_state is not None:
        mean = jnp.mean(x, 0) if mode is algoperf.ForwardPassMode.TRAIN else model_state["mean"]
        x, model_state = x - mean, {"mean": 0.9 * model_state["mean"] + 0.1 * mean}
    x = jnp.tanh(x @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"])
    if mode is algoperf.ForwardPassMode.TRAIN and dropout_rate is not None:
        keep = jax.random.bernoulli(rng, 1 - dropout_rate, x.shape)
        x = jnp.where(keep, x / (1 - dropout_rate), 0.0)
    return x @ params["Dense_1"]["kernel"] + params["Dense_1"]["bias"], model_state


def loss_fn(label_batch, logits_batch, mask_batch, label_smoothing):
    hot = jax.nn.one_hot(label_batch, CLASSES) * (1 - label_smoothing) + label_smoothing / CLASSES
    nats = -jnp.sum(hot * jax.nn.log_softmax(logits_batch), -1)
    mask = jnp.ones_like(nats) if mask_batch is None else mask_batch
    return {"summed": jnp.sum(nats * mask), "n_valid_examples": jnp.sum(mask), "per_example": nats * mask}


def drive(name, hparams=None, steps=20, **more):
    """A file of the assets, or of a path, on this problem."""
    path = name if isinstance(name, pathlib.Path) else FILES / name
    defaults = {"params": params(), "model_fn": model_fn, "loss_fn": loss_fn, "batches": batch, "step_hint": steps}
    return algoperf.drive(path, steps=steps, hparams=hparams, **{**defaults, **more})
