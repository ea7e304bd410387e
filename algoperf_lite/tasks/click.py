"""Click-through prediction: log loss, and excess nats where the true click probability is known."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from algoperf_lite.tasks.common import where


def pass_over(size, data, key, step):
    """`size` consecutive rows of `data["train"]` in an order drawn by the key: every row once in a pass.

    The order is an affine permutation of blocks of rows, whose number is the largest power of two in the number of rows;
    for rows that are drawn independently it is as good as any other.
    """
    train = data["train"]
    count = jax.tree.leaves(train)[0].shape[0]
    blocks = count & -count
    length = count // blocks
    factor, shift = jax.random.bits(key, (2,))
    i = (jnp.uint32(step) * np.uint32(size) + jnp.arange(size, dtype=jnp.uint32)) % np.uint32(count)
    block = (i // length * (factor | 1) + shift) & np.uint32(blocks - 1)
    return {name: leaf[block * length + i % length] for name, leaf in train.items()}


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean log loss of `categories` [B, F], `dense` [B, D], `label` [B]; label smoothing mixes the label with 1/2."""
    inputs = batch["categories"], batch["dense"]
    logits, model_state = apply(params, model_state, *inputs, train=train, rate=reg.dropout_rate, key=key)
    wanted = (1.0 - reg.label_smoothing) * batch["label"].astype(jnp.float32) + 0.5 * reg.label_smoothing
    return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, wanted)), model_state


def sums(apply, params, model_state, batch):
    """Sums over the unmasked rows of the log loss and, where the batch has the true `logit` [B], of the excess.

    Of their squares too.
    """
    inputs = batch["categories"], batch["dense"]
    logits, _ = apply(params, model_state, *inputs, train=False, rate=0.0, key=None)
    nats = {"log_loss": optax.sigmoid_binary_cross_entropy(logits, batch["label"].astype(jnp.float32))}
    if "logit" in batch:
        nats["excess_nats"] = _divergence(batch["logit"], logits)
    found = {"examples": jnp.sum(batch["mask"])}
    for name, values in nats.items():
        values = where(batch["mask"], values)
        found |= {name: jnp.sum(values), f"{name}_squares": jnp.sum(values**2)}
    return found


def metrics(totals) -> dict[str, float]:
    """`log_loss`, `excess_nats` where it is known, each with its standard error over rows, and `loss`, the log loss."""
    n = float(totals["examples"])
    found = {}
    for name in ("log_loss", "excess_nats"):
        if name in totals:
            mean = float(totals[name]) / n
            variance = max(float(totals[f"{name}_squares"]) / n - mean**2, 0.0)
            found |= {name: mean, f"{name}_se": float(np.sqrt(variance / max(n - 1.0, 1.0)))}
    return {**found, "loss": found["log_loss"]}


def _divergence(true, logits):
    """KL divergence of the model's Bernoulli law from the true one in nats, both given by logits [B]: never negative."""
    p = jax.nn.sigmoid(true)
    return p * (true - logits) + jax.nn.softplus(logits) - jax.nn.softplus(true)
