"""Language modelling: next-token cross-entropy over windows of tokens."""

import jax.numpy as jnp
import numpy as np

from algoperf_lite.tasks.common import cross_entropy, where


def loss(apply, z_loss, params, model_state, batch, key, train, reg):
    """Mean cross-entropy of the next token over windows `tokens` [B, T + 1]."""
    tokens = batch["tokens"]
    logits, model_state = apply(params, model_state, tokens[:, :-1], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(cross_entropy(logits, tokens[:, 1:], reg.label_smoothing, z_loss)), model_state


def sums(apply, params, model_state, batch):
    """Sums over the unmasked windows: predicted tokens, their cross-entropy, and the squares of the windows' means."""
    logits, _ = apply(params, model_state, batch["tokens"][:, :-1], train=False, rate=0.0, key=None)
    ce = jnp.mean(cross_entropy(logits, batch["tokens"][:, 1:]), axis=1)
    return window_sums(batch["mask"], ce_nats=ce)


def window_sums(mask, **means):
    """For every named mean per window [B]: the masked sums of its values and of their squares."""
    found = {"windows": jnp.sum(mask)}
    for name, mean in means.items():
        found |= {name: jnp.sum(where(mask, mean)), f"{name}_squares": jnp.sum(where(mask, mean**2))}
    return found


def metrics(totals) -> dict[str, float]:
    """Every mean per token with its standard error over windows, `<name>_se`."""
    n, found = float(totals["windows"]), {}
    for name in totals:
        if f"{name}_squares" in totals:
            mean = float(totals[name]) / n
            variance = max(float(totals[f"{name}_squares"]) / n - mean**2, 0.0)
            found |= {name: mean, f"{name}_se": float(np.sqrt(variance / max(n - 1.0, 1.0)))}
    return found
