"""Reconstruction of images from undersampled k-space: L1 loss, structural similarity (fastMRI, arXiv 1811.08839).

A batch is `image` [B, H, W], the truth, and `columns` [B, W], the mask of k-space columns in the order of np.fft.fftfreq.
The network sees the magnitude of the zero-filled image, standardised per image; its output is compared with the truth
under the same affine map.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from algoperf_lite.data import kspace
from algoperf_lite.tasks.common import where

WINDOW = 7
DATA_RANGE = 1.0


def draw(size, center, probability, data, key, step):
    """`size` training images, uniform with replacement, flipped at random along both axes, each with a fresh mask.

    Args:
      center, probability: of the columns (`kspace.columns`).
      data: `train` holds `image` [N, H, W].
      key, step: all randomness follows from the two.
    """
    images = data["train"]["image"]
    row_key, flip_key, mask_key = jax.random.split(jax.random.fold_in(key, step), 3)
    image = jnp.take(images, jax.random.randint(row_key, (size,), 0, images.shape[0]), axis=0)
    down, across = jax.random.bernoulli(flip_key, 0.5, (2, size, 1, 1))
    image = jnp.where(down, image[:, ::-1], image)
    image = jnp.where(across, image[:, :, ::-1], image)
    width = images.shape[2]
    taken = jax.random.bernoulli(mask_key, probability, (size, width)) | kspace.central(width, center)
    return {"image": image, "columns": taken.astype(jnp.float32)}


def zero_filled(image, columns):
    """Magnitude of `image` [B, H, W] with the k-space columns outside `columns` [B, W] set to 0."""
    return jnp.abs(jnp.fft.ifft(jnp.fft.fft(image) * columns[:, None]))


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean absolute error of the standardised image. Label smoothing has no meaning here and no effect."""
    given, mean, sd = _given(batch)
    output, model_state = apply(params, model_state, given[..., None], train=train, rate=reg.dropout_rate, key=key)
    return jnp.mean(jnp.abs(output[..., 0] - (batch["image"] - mean) / sd)), model_state


def sums(apply, params, model_state, batch):
    """Sums over the unmasked rows: examples, mean absolute error as in `loss`, SSIM and its square, and independent
    examples (`weight` is one over the number of rows that show the same subject)."""
    given, mean, sd = _given(batch)
    output = apply(params, model_state, given[..., None], train=False, rate=0.0, key=None)[0][..., 0]
    mask, image = batch["mask"], batch["image"]
    similarity = ssim(output * sd + mean, image)
    return {
        "examples": jnp.sum(mask),
        "independent": jnp.sum(mask * batch["weight"]),
        "loss": jnp.sum(where(mask, jnp.mean(jnp.abs(output - (image - mean) / sd), axis=(1, 2)))),
        "ssim": jnp.sum(where(mask, similarity)),
        "ssim_squares": jnp.sum(where(mask, similarity**2)),
    }


def metrics(totals) -> dict[str, float]:
    """`ssim` with its standard error over subjects, and the mean absolute error `loss` in standard deviations."""
    n, subjects = float(totals["examples"]), float(totals["independent"])
    mean = float(totals["ssim"]) / n
    variance = max(float(totals["ssim_squares"]) / n - mean**2, 0.0)
    return {"ssim": mean, "ssim_se": float(np.sqrt(variance / max(subjects - 1.0, 1.0))), "loss": float(totals["loss"]) / n}


def ssim(a, b):
    """Mean structural similarity of images a and b [B, H, W] -> [B], for a data range of 1.

    Uniform windows 7x7 inside the image, sample covariance, K1 .01, K2 .03 (Wang et al., IEEE Trans. Image Process. 13,
    2004): scikit-image's `structural_similarity(a, b, data_range=1.0)`. fastMRI's windows and constants; its data range is
    the volume's maximum.
    """
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    mean_a, mean_b = _box(a), _box(b)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    variance_a, variance_b = sample * (_box(a * a) - mean_a**2), sample * (_box(b * b) - mean_b**2)
    covariance = sample * (_box(a * b) - mean_a * mean_b)
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return jnp.mean(top / bottom, axis=(1, 2))


def _given(batch):
    """The network's input [B, H, W], and mean and standard deviation [B, 1, 1] of the zero-filled image."""
    given = zero_filled(batch["image"], batch["columns"])
    mean = jnp.mean(given, axis=(1, 2), keepdims=True)
    sd = jnp.std(given, axis=(1, 2), keepdims=True) + 1e-6  # fastMRI's 1e-11 vanishes in float32
    return (given - mean) / sd, mean, sd


def _box(x):
    """Means over all 7x7 windows inside x [B, H, W] -> [B, H - 6, W - 6]."""
    height, width = x.shape[1] - WINDOW + 1, x.shape[2] - WINDOW + 1
    rows = functools.reduce(jnp.add, [x[:, i : i + height] for i in range(WINDOW)])
    return functools.reduce(jnp.add, [rows[:, :, i : i + width] for i in range(WINDOW)]) / WINDOW**2
