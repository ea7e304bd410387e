"""Cartesian undersampling of k-space by columns, on the NumPy side: fixed masks, the zero-filled image as baseline.

A column mask leaves the transform along the other axis alone, so that ifft2(mask * fft2(x)) equals the same along the
columns' axis only. Masks after fastMRI (Zbontar et al., arXiv 1811.08839, section 4.4): some central columns always, each
of the others with a fixed probability.
"""

import numpy as np


def columns(count: int, width: int, center: int, probability: float, seed: int) -> np.ndarray:
    """Masks [count, width] float32 of 0 and 1, in the order of np.fft.fftfreq (frequency 0 first).

    Args:
      center: how many columns around frequency 0 are always taken.
      probability: of every other column.
    """
    taken = np.random.default_rng(seed).random((count, width)) < probability
    return (taken | central(width, center)).astype(np.float32)


def central(width: int, center: int) -> np.ndarray:
    """Bool [width]: the `center` columns around frequency 0, as np.fft.fftfreq orders them."""
    frequency = np.rint(np.fft.fftfreq(width, 1 / width))
    return (frequency >= -(center // 2)) & (frequency < center - center // 2)


def zero_filled(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Magnitude of images [N, H, W] whose columns [N, W] outside the mask are 0: what a network is given."""
    return np.abs(np.fft.ifft(np.fft.fft(images) * masks[:, None])).astype(np.float32)
