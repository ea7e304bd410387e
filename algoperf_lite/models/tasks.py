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
    """Sums over the unmasked rows: examples, right answers, cross-entropy, and independent examples (`weight` is one
    over the number of rows that show the same original)."""
    logits, _ = apply(params, model_state, batch["image"], train=False, rate=0.0, key=None)
    mask = batch["mask"]
    return {
        "examples": jnp.sum(mask),
        "independent": jnp.sum(mask * batch["weight"]),
        "right": jnp.sum(mask * (jnp.argmax(logits, axis=-1) == batch["label"])),
        "loss": jnp.sum(_where(mask, cross_entropy(logits, batch["label"]))),
    }


def classification_metrics(sums) -> dict[str, float]:
    """`accuracy` with its binomial standard error over independent examples, and the mean `loss` in nats."""
    n = float(sums["examples"])
    accuracy = float(sums["right"]) / n
    return {
        "accuracy": accuracy,
        "accuracy_se": float(np.sqrt(accuracy * (1.0 - accuracy) / float(sums["independent"]))),
        "loss": float(sums["loss"]) / n,
    }


# --------------------------------------------------------------------------------------- language modelling


def language_loss(apply, z_loss, params, model_state, batch, key, train, reg):
    """Mean cross-entropy of the next token over windows `tokens` [B, T + 1]."""
    tokens = batch["tokens"]
    logits, model_state = apply(params, model_state, tokens[:, :-1], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(cross_entropy(logits, tokens[:, 1:], reg.label_smoothing, z_loss)), model_state


def language_sums(apply, params, model_state, batch):
    """Sums over the unmasked windows: predicted tokens, their cross-entropy, and the squares of the windows' means."""
    logits, _ = apply(params, model_state, batch["tokens"][:, :-1], train=False, rate=0.0, key=None)
    ce = jnp.mean(cross_entropy(logits, batch["tokens"][:, 1:]), axis=1)
    return window_sums(batch["mask"], ce_nats=ce)


def window_sums(mask, **means):
    """For every named mean per window [B]: the masked sums of its values and of their squares."""
    sums = {"windows": jnp.sum(mask)}
    for name, mean in means.items():
        sums |= {name: jnp.sum(_where(mask, mean)), f"{name}_squares": jnp.sum(_where(mask, mean**2))}
    return sums


def language_metrics(sums) -> dict[str, float]:
    """Every mean per token with its standard error over windows, `<name>_se`."""
    n, found = float(sums["windows"]), {}
    for name in sums:
        if f"{name}_squares" in sums:
            mean = float(sums[name]) / n
            variance = max(float(sums[f"{name}_squares"]) / n - mean**2, 0.0)
            found |= {name: mean, f"{name}_se": float(np.sqrt(variance / max(n - 1.0, 1.0)))}
    return found


def _where(mask, values):
    """`values` where the mask is 1; 0 elsewhere, whatever stands there (a product would keep NaN)."""
    return jnp.where(mask > 0, values, 0.0)
