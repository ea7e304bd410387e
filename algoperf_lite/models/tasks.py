"""What the workloads of one task share: loss, sums and metrics of image classification and of language modelling.

The functions take the network's `apply` first; a workload binds it. `reg` is `spec.Reg`; outside training the
key is None.
"""

import jax
import jax.numpy as jnp
import numpy as np


def cross_entropy(logits, labels, label_smoothing=0.0, z_loss: float = 0.0):
    """Cross-entropy in nats per label; logits [..., C], labels [...] int -> [...].

    `label_smoothing` (traced) mixes in the uniform law; `z_loss` adds that times log(Z)^2 (PaLM, arXiv 2204.02311).
    """
    log_z = jax.nn.logsumexp(logits, axis=-1)
    own = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = log_z - (1.0 - label_smoothing) * own - label_smoothing * jnp.mean(logits, axis=-1)
    return loss + z_loss * log_z**2 if z_loss else loss


# ------------------------------------------------------------------------------------------ classification


def draw_images(size, data, key, step):
    """`size` images of `data["train"]`, uniform with replacement; keyed by (key, step)."""
    train = data["train"]
    rows = jax.random.randint(jax.random.fold_in(key, step), (size,), 0, train["label"].shape[0])
    return {name: jnp.take(leaf, rows, axis=0) for name, leaf in train.items()}


def classification_loss(apply, params, model_state, batch, key, train, reg):
    """Mean cross-entropy over a batch of `image` [B, H, W, C] and `label` [B]."""
    logits, model_state = apply(params, model_state, batch["image"], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(cross_entropy(logits, batch["label"], reg.label_smoothing)), model_state


def classification_sums(apply, params, model_state, batch):
    """Sums over the unmasked rows: examples, right answers, cross-entropy."""
    logits, _ = apply(params, model_state, batch["image"], train=False, rate=0.0, key=None)
    mask = batch["mask"]
    return {
        "examples": jnp.sum(mask),
        "right": jnp.sum(mask * (jnp.argmax(logits, axis=-1) == batch["label"])),
        "loss": jnp.sum(_where(mask, cross_entropy(logits, batch["label"]))),
    }


def classification_metrics(sums) -> dict[str, float]:
    """`accuracy` with its binomial standard error, and the mean `loss` in nats."""
    n = float(sums["examples"])
    accuracy = float(sums["right"]) / n
    return {
        "accuracy": accuracy,
        "accuracy_se": float(np.sqrt(accuracy * (1.0 - accuracy) / n)),
        "loss": float(sums["loss"]) / n,
    }


# --------------------------------------------------------------------------------------- language modelling


def language_loss(apply, z_loss, params, model_state, batch, key, train, reg):
    """Mean cross-entropy of the next token over windows `tokens` [B, T + 1]."""
    tokens = batch["tokens"]
    logits, model_state = apply(params, model_state, tokens[:, :-1], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(cross_entropy(logits, tokens[:, 1:], reg.label_smoothing, z_loss)), model_state


def language_sums(apply, params, model_state, batch):
    """Sums over the unmasked windows: predicted tokens and their cross-entropy."""
    logits, _ = apply(params, model_state, batch["tokens"][:, :-1], train=False, rate=0.0, key=None)
    ce = jnp.sum(cross_entropy(logits, batch["tokens"][:, 1:]), axis=1)
    return {"tokens": jnp.sum(batch["mask"]) * logits.shape[1], "ce": jnp.sum(_where(batch["mask"], ce))}


def language_metrics(sums) -> dict[str, float]:
    """`ce_nats`: cross-entropy per token."""
    return {"ce_nats": float(sums["ce"]) / float(sums["tokens"])}


def _where(mask, values):
    """`values` where the mask is 1; 0 elsewhere, whatever stands there (a product would keep NaN)."""
    return jnp.where(mask > 0, values, 0.0)
