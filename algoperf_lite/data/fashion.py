"""Fashion-MNIST (Xiao et al., arXiv 1708.07747): 28x28 grey images of clothing in 10 classes; MIT licence.

The official 60,000 training images are split 55,000 / 5,000 by a fixed permutation, the official 10,000 are the test set.
"""

from pathlib import Path

import numpy as np

from algoperf_lite.data import formats

DATASET = "fashion_mnist"
SIZE, CLASSES = 28, 10
TRAIN, VALIDATION = 55_000, 5_000
MEAN, SD = 0.2861, 0.3530  # of the training pixels / 255


def load(folder: Path, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """`train`: `image` [55000, 28, 28, 1] uint8 and `label` [55000] int32.

    Evaluation splits: `image` float32, standardised, `label`, and `weight`, 1 each: no two rows show the same image.

    Raises:
      EnvironmentFault: files are missing or broken.
    """
    images, labels = _read(folder, "train", TRAIN + VALIDATION)
    order = np.random.default_rng(0).permutation(len(labels))
    train, validation = order[:TRAIN], order[TRAIN:]
    return {
        "train": {"image": images[train], "label": labels[train]},
        "eval_train": _evaluated(images[train[:eval_train]], labels[train[:eval_train]]),
        "validation": _evaluated(images[validation], labels[validation]),
        "test": _evaluated(*_read(folder, "t10k", 10_000)),
    }


def standardised(image):
    """Bytes to float32 of mean 0 and standard deviation 1 over the training pixels; NumPy or JAX arrays."""
    return (image.astype(np.float32) * np.float32(1 / 255) - np.float32(MEAN)) * np.float32(1 / SD)


def _evaluated(images, labels) -> dict[str, np.ndarray]:
    return {"image": standardised(images), "label": labels, "weight": np.ones(len(labels), np.float32)}


def _read(folder: Path, name: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    path = folder / f"{name}-images-idx3-ubyte.gz"
    images = formats.idx(path, DATASET)
    labels = formats.idx(folder / f"{name}-labels-idx1-ubyte.gz", DATASET)
    if images.shape != (count, SIZE, SIZE) or labels.shape != (count,):
        found = f"{images.shape} and labels of {labels.shape}"
        raise formats.broken(path, DATASET, f"holds images of shape {found}, expected {count} of {SIZE}x{SIZE}")
    return images[..., None], labels.astype(np.int32)
