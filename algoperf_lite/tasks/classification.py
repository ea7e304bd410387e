"""Image classification: cross-entropy and accuracy."""

import jax.numpy as jnp
import numpy as np

from algoperf_lite.tasks.common import cross_entropy, where


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean cross-entropy over a batch of `image` [B, H, W, C] and `label` [B]."""
    logits, model_state = apply(params, model_state, batch["image"], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(cross_entropy(logits, batch["label"], reg.label_smoothing)), model_state


def sums(apply, params, model_state, batch):
    """Sums over the unmasked rows: examples, right answers, cross-entropy, and independent examples (`weight` is one
    over the number of rows that show the same original)."""
    logits, _ = apply(params, model_state, batch["image"], train=False, rate=0.0, key=None)
    mask = batch["mask"]
    return {
        "examples": jnp.sum(mask),
        "independent": jnp.sum(mask * batch["weight"]),
        "right": jnp.sum(mask * (jnp.argmax(logits, axis=-1) == batch["label"])),
        "loss": jnp.sum(where(mask, cross_entropy(logits, batch["label"]))),
    }


def metrics(totals) -> dict[str, float]:
    """`accuracy` with its binomial standard error over independent examples, and the mean `loss` in nats."""
    n = float(totals["examples"])
    accuracy = float(totals["right"]) / n
    return {
        "accuracy": accuracy,
        "accuracy_se": float(np.sqrt(accuracy * (1.0 - accuracy) / float(totals["independent"]))),
        "loss": float(totals["loss"]) / n,
    }
