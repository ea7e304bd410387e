"""Generated phantoms and k-space masks: fixed, and what their law says."""

import hashlib

import numpy as np
import pytest

from algoperf_lite.data import kspace, phantoms
from algoperf_lite.tasks import reconstruction


@pytest.fixture(scope="module")
def data():
    return phantoms.load(train=400, validation=96, test=64, eval_train=32)


def test_splits_are_fixed(data):
    shapes = {name: split["image"].shape for name, split in data.items()}
    assert shapes == {
        "train": (400, 32, 32),
        "validation": (96, 32, 32),
        "test": (64, 32, 32),
        "eval_train": (32, 32, 32),
    }
    assert all(leaf.dtype == np.float32 for split in data.values() for leaf in split.values())
    assert "columns" not in data["train"]
    np.testing.assert_array_equal(data["eval_train"]["image"], data["train"]["image"][:32])
    again = phantoms.load(train=400, validation=96, test=64, eval_train=32)
    for name, split in data.items():
        for leaf in split:
            np.testing.assert_array_equal(split[leaf], again[name][leaf])
    images = np.concatenate([data[name]["image"] for name in ("train", "validation", "test")])
    assert len({hashlib.sha256(image.tobytes()).digest() for image in images}) == len(images)


def test_phantoms_are_sums_of_few_values(data):
    images = data["train"]["image"]
    assert images.min() == 0.0
    assert 2.0 < images.max() <= 8.0
    assert images.std(axis=(1, 2)).min() >= 0.1
    assert 0.1 < np.mean(images > 0) < 0.6
    assert max(len(np.unique(image)) for image in images) <= 2**8
    assert len(phantoms.phantoms(5000, seed=1)) == 5000


def test_masks_keep_the_centre_and_a_fixed_share():
    masks = kspace.columns(4000, 32, 4, 0.172, seed=0)
    frequency = np.fft.fftfreq(32, 1 / 32)
    np.testing.assert_array_equal(frequency[kspace.central(32, 4)], [0, 1, -2, -1])
    np.testing.assert_array_equal(frequency[kspace.central(32, 3)], [0, 1, -1])
    assert np.all(masks[:, kspace.central(32, 4)] == 1)
    assert masks.sum(1).mean() == pytest.approx(4 + 28 * 0.172, abs=0.1)
    assert not np.array_equal(masks, kspace.columns(4000, 32, 4, 0.172, seed=1))


def test_the_zero_filled_image_is_the_recorded_baseline():
    split = phantoms.load(train=4096, validation=256, test=256, eval_train=32)["validation"]
    given = kspace.zero_filled(split["image"], split["columns"])
    assert float(np.mean(reconstruction.ssim(given, split["image"]))) == pytest.approx(BASELINE, abs=5e-4)


BASELINE = 0.6109
