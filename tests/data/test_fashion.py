"""Fashion-MNIST: fixed splits, standardised pixels, augmentation that keeps labels."""

import functools
import gzip
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import fashion
from algoperf_lite.tasks import augmentation

LABELS = {
    "train": "8c73184882890abfd17a038baf121f009bf22903f5fe5666b83ae7aede91ab94",
    "validation": "c3dadadf174584d9081cf0c2e05b26fa7aa13d714813e536328f44cbed2bf6e1",
    "test": "53fdd09ed9cbcd893df0e3b0af7802f2d62457de11c87273d4b4186f4992a40c",
}


@functools.cache
def _load(folder):
    return fashion.load(folder, eval_train=64)


@pytest.fixture
def real(mirror):
    return _load(mirror / "fashion_mnist")


def test_real_splits_are_the_recorded_ones(real):
    shapes = {name: split["image"].shape for name, split in real.items()}
    assert shapes == {
        "train": (55_000, 28, 28, 1),
        "eval_train": (64, 28, 28, 1),
        "validation": (5_000, 28, 28, 1),
        "test": (10_000, 28, 28, 1),
    }
    found = {name: hashlib.sha256(real[name]["label"].tobytes()).hexdigest() for name in LABELS}
    assert found == LABELS
    assert real["train"]["image"].dtype == np.uint8
    assert all(np.all(real[name]["weight"] == 1) for name in ("eval_train", "validation", "test"))
    majority = np.bincount(real["validation"]["label"]).max() / 5_000
    assert 0.09 < majority < 0.12


def test_pixels_are_standardised(real):
    train = fashion.standardised(real["train"]["image"])
    assert train.dtype == np.float32
    assert (train.mean(dtype=np.float64), train.std(dtype=np.float64)) == pytest.approx((0.0, 1.0), abs=1e-3)
    np.testing.assert_array_equal(real["eval_train"]["image"], train[:64])
    ours = fashion.standardised(jnp.asarray(real["train"]["image"][:8]))
    np.testing.assert_allclose(ours, train[:8], rtol=1e-5, atol=1e-6)


def _idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0))


def test_files_of_another_size_are_refused(tmp_path):
    _idx(tmp_path / "train-images-idx3-ubyte.gz", np.zeros((3, 28, 28)))
    _idx(tmp_path / "train-labels-idx1-ubyte.gz", np.zeros(3))
    with pytest.raises(errors.EnvironmentFault, match=r"holds images of shape \(3, 28, 28\).*expected 60000 of 28x28"):
        fashion.load(tmp_path, eval_train=2)


@pytest.fixture(scope="module")
def toy():
    """Images whose pixels are all distinct within an image and name it, so that a shift can be read off."""
    images = np.arange(1, 5 * 6 * 7 + 1, dtype=np.uint8).reshape(5, 6, 7, 1)
    return {"train": {"image": jnp.asarray(images), "label": jnp.arange(5)}}


def test_augmentation_shifts_flips_and_keeps_labels(toy):
    images = np.asarray(toy["train"]["image"])
    draw = jax.jit(lambda key, step: augmentation.crop_and_flip(600, 2, toy, key, step))
    batch = draw(jax.random.key(0), 3)
    jax.tree.map(np.testing.assert_array_equal, batch, draw(jax.random.key(0), 3))
    assert not np.array_equal(batch["image"], draw(jax.random.key(0), 4)["image"])
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    crops = {
        (label, y, x, flip): padded[label, y : y + 6, x : x + 7][:, :: -1 if flip else 1].tobytes()
        for label in range(5)
        for y in range(5)
        for x in range(5)
        for flip in (False, True)
    }
    names = {crop: name for name, crop in crops.items()}
    assert len(names) == 250
    seen = [names[image.tobytes()] for image in np.asarray(batch["image"])]
    assert [name[0] for name in seen] == np.asarray(batch["label"]).tolist()
    assert {name[1:3] for name in seen} == {(y, x) for y in range(5) for x in range(5)}
    assert np.mean([name[3] for name in seen]) == pytest.approx(0.5, abs=0.1)


def test_without_padding_only_flips_are_left(toy):
    batch = augmentation.crop_and_flip(64, 0, toy, jax.random.key(1), 0)
    image, label = np.asarray(batch["image"]), np.asarray(batch["label"])
    plain = np.asarray(toy["train"]["image"])[label]
    same = np.all(image == plain, axis=(1, 2, 3))
    mirrored = np.all(image == plain[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 0 < same.sum() < 64
