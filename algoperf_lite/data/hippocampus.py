"""Slices of real MR volumes around the hippocampus, as images to reconstruct: Medical Segmentation Decathlon, Task04.

Source: Antonelli et al., Nature Communications 13, 2022 (arXiv 2106.05735); CC BY-SA 4.0. 260 volumes, one per subject, of
31-43 x 40-59 x 24-47 voxels. Each is divided by its own 99.5th percentile (some are stored as uint8, others as float32
with maxima from 200 to 1.7 million) and cut into the slices of its last axis. The middle 32x48 of a slice is taken, padded
with 0 where it has less (1 row, 8 columns at most), so that no similarity is earned on wide blank margins. No slice is
nearly empty (the smallest standard deviation is .15), so none is left out.
"""

from pathlib import Path

import numpy as np

from algoperf_lite.data import formats, kspace

DATASET = "msd_hippocampus"
SHAPE = (32, 48)
CENTER, PROBABILITY = 4, 0.2  # of the 48 columns 12.8 are taken on average: acceleration 3.75
SUBJECTS = 260
_EVERY = 4  # held-out slices are thinned: neighbours look alike


def load(folder: Path, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits by subject: `image` [N, 32, 48] float32; all but `train` with `columns` [N, 48] (see `kspace`) and `weight`
    [N], one over the number of slices of the same subject.

    Evaluation splits hold every fourth slice of their subjects; `eval_train` slices are spread evenly over `train`.

    Raises:
      EnvironmentFault: files are missing or broken.
    """
    by_split = {name: [slices(folder / file) for file in files] for name, files in subjects(folder).items()}
    images = {name: np.concatenate(part) for name, part in by_split.items()}
    owners = {name: np.repeat(np.arange(len(part)), [len(v) for v in part]) for name, part in by_split.items()}
    held_out = {
        "eval_train": ("train", np.linspace(0, len(images["train"]), eval_train, endpoint=False).astype(int)),
        "validation": ("validation", np.arange(0, len(images["validation"]), _EVERY)),
        "test": ("test", np.arange(0, len(images["test"]), _EVERY)),
    }
    splits = {"train": {"image": images["train"]}}
    for seed, (name, (source, rows)) in enumerate(held_out.items()):
        masks = kspace.columns(len(rows), SHAPE[1], CENTER, PROBABILITY, seed)
        owner = owners[source][rows]
        weight = (1.0 / np.bincount(owner)[owner]).astype(np.float32)
        splits[name] = {"image": images[source][rows], "columns": masks, "weight": weight}
    return splits


def subjects(folder: Path) -> dict[str, list[str]]:
    """File names of each split: of the sorted names every 10th, from the first on, is test, the one after it validation."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("imagesTr/*.nii.gz"))
    if len(names) != SUBJECTS:
        raise formats.broken(folder / "imagesTr", DATASET, f"holds {len(names)} volumes, expected {SUBJECTS}")
    part = {0: "test", 1: "validation"}
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for index, name in enumerate(names):
        splits[part.get(index % 10, "train")].append(name)
    return splits


def slices(path: Path) -> np.ndarray:
    """The slices of one volume [N, 32, 48] float32, 1 being its 99.5th percentile."""
    volume = formats.nifti(path, DATASET).astype(np.float32)
    if volume.ndim != 3:
        raise formats.broken(path, DATASET, f"has {volume.ndim} dimensions, expected 3")
    images = np.moveaxis(volume / np.percentile(volume, 99.5), 2, 0)
    for axis, size in enumerate(SHAPE, 1):
        missing = max(size - images.shape[axis], 0)
        padding = [(0, 0)] * 3
        padding[axis] = (missing // 2, missing - missing // 2)
        images = np.pad(images, padding)
        first = (images.shape[axis] - size) // 2
        images = np.take(images, np.arange(first, first + size), axis=axis)
    return np.ascontiguousarray(images, np.float32)
