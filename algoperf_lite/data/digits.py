"""scikit-learn's 8x8 digits, placed on larger canvases: an image task that is hard enough and needs no download.

Source: Alpaydin and Kaynak, UCI 1998, as shipped with scikit-learn (1,797 images). The 1,000 / 400 / 397 images of the
splits are a fixed permutation; every image is placed several times at a uniform position, with a contrast U(0.5, 1) and
Gaussian pixel noise. All arrays are standardised by the training canvases' mean and standard deviation.
"""

import numpy as np
from sklearn.datasets import load_digits

CLASSES = 10
SIZE = 12  # of the square canvas


def load(noise: float, margin: int, placements: tuple[int, int, int], eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits `train`, `eval_train`, `validation`, `test`: `image` [N, 12, 12, 1] float32 and `label` [N] int32.

    Evaluation splits also have `weight` [N] float32, one over the number of canvases that show the same digit.

    Args:
      noise: standard deviation of the pixel noise, in units of the digits' full range.
      margin: pixels of the canvas' edge that no digit touches: 0 for 25 positions, 1 for the central 9.
      placements: canvases per image of train, validation and test.
      eval_train: how many training canvases the evaluation on training data sees.
    """
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8) / 16.0
    order = np.random.default_rng(0).permutation(len(labels))
    parts = np.split(order, [1000, 1400])
    splits = {
        name: _place(images[rows], labels[rows], times, noise, margin, seed)
        for name, rows, times, seed in zip(("train", "validation", "test"), parts, placements, (98, 99, 100), strict=True)
    }
    mean, sd = splits["train"]["image"].mean(), splits["train"]["image"].std()
    for split in splits.values():
        split["image"] = ((split["image"] - mean) / sd).astype(np.float32)
    for name, times in (("validation", placements[1]), ("test", placements[2])):
        splits[name]["weight"] = np.full(len(splits[name]["label"]), 1.0 / times, np.float32)
    # Placements of one image lie together, so a stride takes different images.
    train = splits["train"]
    rows = np.linspace(0, len(train["label"]), eval_train, endpoint=False).astype(int)
    eval_part = {name: leaf[rows] for name, leaf in train.items()} | {"weight": np.ones(eval_train, np.float32)}
    return {**splits, "eval_train": eval_part}


def _place(images, labels, times: int, noise: float, margin: int, seed: int) -> dict[str, np.ndarray]:
    """Each of images [N, 8, 8] on `times` canvases."""
    rng = np.random.default_rng(seed)
    images, labels = np.repeat(images, times, axis=0), np.repeat(labels, times)
    n, side = images.shape[:2]
    top, left = rng.integers(margin, SIZE - side + 1 - margin, (2, n, 1, 1))
    canvas = np.zeros((n, SIZE, SIZE))
    pixel = np.arange(side)
    canvas[np.arange(n)[:, None, None], top + pixel[:, None], left + pixel] = images * rng.uniform(0.5, 1.0, (n, 1, 1))
    canvas += noise * rng.standard_normal(canvas.shape)
    return {"image": canvas[..., None], "label": labels.astype(np.int32)}
