"""What several tasks share: cross-entropy, masking, uniform draws of training examples."""

import jax
import jax.numpy as jnp


def cross_entropy(logits, labels, label_smoothing=0.0, z_loss: float = 0.0):
    """Cross-entropy in nats per label; logits [..., C], labels [...] int -> [...].

    `label_smoothing` (traced) mixes in the uniform law; `z_loss` adds that times log(Z)^2 (PaLM, arXiv 2204.02311).
    """
    log_z = jax.nn.logsumexp(logits, axis=-1)
    own = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    loss = log_z - (1.0 - label_smoothing) * own - label_smoothing * jnp.mean(logits, axis=-1)
    return loss + z_loss * log_z**2 if z_loss else loss


def where(mask, values):
    """`values` where the mask is 1; 0 elsewhere, whatever stands there (a product would keep NaN)."""
    return jnp.where(mask > 0, values, 0.0)


def draw(size, data, key, step):
    """`size` examples of `data["train"]` (leaves [N, ...]), uniform with replacement; keyed by (key, step)."""
    train = data["train"]
    count = jax.tree.leaves(train)[0].shape[0]
    rows = jax.random.randint(jax.random.fold_in(key, step), (size,), 0, count)
    return {name: jnp.take(leaf, rows, axis=0) for name, leaf in train.items()}
