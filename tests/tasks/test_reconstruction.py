"""SSIM against scikit-image, k-space against NumPy, draws keyed by (key, step)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import spec
from algoperf_lite.data import kspace, phantoms
from algoperf_lite.tasks import reconstruction


@pytest.fixture(scope="module")
def images():
    return phantoms.phantoms(12, seed=3)


def test_ssim_is_that_of_scikit_image(images):
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(0)
    for noise in (0.0, 0.05, 0.5):
        other = (images + noise * rng.standard_normal(images.shape)).astype(np.float32)
        ours = jax.jit(reconstruction.ssim)(other, images)
        theirs = [metrics.structural_similarity(a, b, data_range=1.0) for a, b in zip(other, images, strict=True)]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
    oblong = rng.random((2, 9, 15)).astype(np.float32)
    theirs = [metrics.structural_similarity(a, 0.7 * a, data_range=1.0) for a in oblong]
    np.testing.assert_allclose(reconstruction.ssim(oblong, 0.7 * oblong), theirs, rtol=1e-4)


def test_zero_filling_is_the_two_dimensional_transform_under_a_column_mask(images):
    masks = kspace.columns(len(images), 32, 4, 0.2, seed=1)
    two = np.abs(np.fft.ifft2(np.fft.fft2(images) * masks[:, None]))
    np.testing.assert_allclose(reconstruction.zero_filled(jnp.asarray(images), jnp.asarray(masks)), two, atol=1e-5)
    np.testing.assert_allclose(kspace.zero_filled(images, masks), two, atol=1e-5)
    np.testing.assert_allclose(kspace.zero_filled(images, np.ones_like(masks)), images, atol=1e-5)


def test_loss_and_sums_of_a_network_that_changes_nothing(images):
    batch = {"image": jnp.asarray(images), "columns": jnp.asarray(kspace.columns(12, 32, 4, 0.2, seed=1))}

    def identity(params, model_state, x, *, train, rate, key):
        return x, model_state

    given = kspace.zero_filled(images, batch["columns"])
    sd = given.std(axis=(1, 2))
    errors = np.abs(given - images).mean((1, 2)) / sd
    value, _ = reconstruction.loss(identity, {}, {}, batch, None, True, spec.NO_REG)
    assert float(value) == pytest.approx(errors.mean(), rel=1e-4)
    mask = np.r_[np.ones(10), np.zeros(2)].astype(np.float32)
    weight = np.full(12, 0.5, np.float32)  # two images of each subject
    broken = {**batch, "image": batch["image"].at[10:].set(jnp.nan), "mask": mask, "weight": weight}
    found = reconstruction.metrics(reconstruction.sums(identity, {}, {}, broken))
    similarity = np.asarray(reconstruction.ssim(given, images))[:10]
    assert found["ssim"] == pytest.approx(similarity.mean(), rel=1e-4)
    assert found["ssim_se"] == pytest.approx(similarity.std() / np.sqrt(5 - 1), rel=1e-2)
    assert found["loss"] == pytest.approx(errors[:10].mean(), rel=1e-4)


def test_draws_are_training_images_flipped_under_fresh_masks(images):
    data = {"train": {"image": jnp.asarray(images)}}
    draw = jax.jit(lambda key, step: reconstruction.draw(256, 4, 0.172, data, key, step))
    batch = draw(jax.random.key(0), 3)
    jax.tree.map(np.testing.assert_array_equal, batch, draw(jax.random.key(0), 3))
    assert not np.array_equal(batch["image"], draw(jax.random.key(0), 4)["image"])
    flipped = np.stack([images, images[:, ::-1], images[:, :, ::-1], images[:, ::-1, ::-1]])
    same = np.all(np.asarray(batch["image"]) == flipped[:, :, None], axis=(-2, -1))  # [flip, image, drawn]
    assert np.all(same.sum((0, 1)) == 1)
    assert np.all(same.any(2).sum(0) == 4)  # every image in all four positions
    columns = np.asarray(batch["columns"])
    assert np.all(columns[:, kspace.central(32, 4)] == 1)
    others = columns[:, ~kspace.central(32, 4)]
    assert others.mean() == pytest.approx(0.172, abs=0.02)
    assert len(np.unique(columns, axis=0)) > 200
