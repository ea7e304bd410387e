"""Augmentation of image batches as one gather, keyed by (key, step)."""

import jax
import jax.numpy as jnp


def crop_and_flip(size, padding, data, key, step):
    """`size` training images, uniform with replacement, each shifted and half of them mirrored; labels stay.

    The shift is a crop of the image's own size at a uniform position after `padding` pixels of 0 on all sides (He et al.,
    arXiv 1512.03385, section 4.2).

    Args:
      data: `train` holds `image` [N, H, W, C] and `label` [N].
    """
    images, labels = data["train"]["image"], data["train"]["label"]
    count, height, width = images.shape[:3]
    row_key, shift_key, flip_key = jax.random.split(jax.random.fold_in(key, step), 3)
    rows = jax.random.randint(row_key, (size,), 0, count)
    down, across = jax.random.randint(shift_key, (2, size, 1), -padding, padding + 1)
    y, x = jnp.arange(height) + down, jnp.arange(width) + across
    x = jnp.where(jax.random.bernoulli(flip_key, 0.5, (size, 1)), width - 1 - x, x)
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    pixels = images[rows[:, None, None], y[:, :, None], x[:, None, :]]
    return {"image": jnp.where(inside[..., None], pixels, jnp.zeros((), pixels.dtype)), "label": labels[rows]}
