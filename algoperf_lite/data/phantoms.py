"""Generated phantoms, sums of ellipses after Shepp and Logan (IEEE Trans. Nucl. Sci. 21, 1974), as images to reconstruct.

Each has 4 to 8 ellipses with half axes U(.05, .4) and centres U(-.3, .3) in units of the image's side, angle U(0, pi) and
value U(-.5, 1), added up and clipped at 0; nearly blank ones are left out. Evaluation splits carry a fixed mask of k-space
columns per image.
"""

import numpy as np

from algoperf_lite.data import kspace

SIZE = 32
CENTER, PROBABILITY = 4, 0.172  # of the 32 columns 8.8 are taken on average: acceleration 3.6
_ELLIPSES = (4, 8)
_BLANK = 0.1  # standard deviation below which nothing is left to reconstruct, and instance norm has nothing to divide by


def load(train: int, validation: int, test: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits of the given sizes: `image` [N, 32, 32] float32; all but `train` with `columns` [N, 32] (see `kspace`) and
    `weight` [N], 1: every phantom is one of its own."""
    images = phantoms(train + validation + test, seed=0)
    parts = dict(zip(("train", "validation", "test"), np.split(images, [train, train + validation]), strict=True))
    splits = {"train": {"image": parts["train"]}}
    for seed, (name, part) in enumerate({**parts, "eval_train": parts["train"][:eval_train]}.items()):
        if name != "train":
            masks = kspace.columns(len(part), SIZE, CENTER, PROBABILITY, seed)
            splits[name] = {"image": part, "columns": masks, "weight": np.ones(len(part), np.float32)}
    return splits


def phantoms(count: int, seed: int) -> np.ndarray:
    """Images [count, 32, 32] float32, each with a standard deviation of at least .1."""
    drawn = _sums_of_ellipses(count + count // 10 + 20, np.random.default_rng(seed))
    return drawn[drawn.std(axis=(1, 2)) >= _BLANK][:count]


def _sums_of_ellipses(count: int, rng: np.random.Generator) -> np.ndarray:
    number = rng.integers(_ELLIPSES[0], _ELLIPSES[1] + 1, count)
    shape = (_ELLIPSES[1], count, 1, 1)
    axes = rng.uniform(0.05, 0.4, (2, *shape)).astype(np.float32)
    centres = rng.uniform(-0.3, 0.3, (2, *shape)).astype(np.float32)
    angle = rng.uniform(0.0, np.pi, shape).astype(np.float32)
    value = rng.uniform(-0.5, 1.0, shape).astype(np.float32)
    y, x = (np.mgrid[:SIZE, :SIZE].astype(np.float32) + 0.5) / SIZE - 0.5
    image = np.zeros((count, SIZE, SIZE), np.float32)
    for i in range(_ELLIPSES[1]):
        across, down = x - centres[0, i], y - centres[1, i]
        cos, sin = np.cos(angle[i]), np.sin(angle[i])
        inside = ((across * cos + down * sin) / axes[0, i]) ** 2 + ((down * cos - across * sin) / axes[1, i]) ** 2 <= 1.0
        image += np.where((number > i)[:, None, None], value[i], np.float32(0.0)) * inside
    return np.maximum(image, 0.0)
