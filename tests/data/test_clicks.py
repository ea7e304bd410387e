"""The generated click log: its law, its Bayes loss, its splits."""

import hashlib

import numpy as np
import pytest

from algoperf_lite.data import clicks

FIELDS = (10, 20, 50, 100, 200, 500, 1000, 2000)
BAYES = 0.3960


@pytest.fixture(scope="module")
def data():
    return clicks.load(FIELDS, train=1 << 18, held_out=1 << 14, eval_train=512)


def test_the_bayes_loss_is_the_stated_one():
    """Two Monte Carlo estimates on fresh rows: the mean entropy of the true law, and the log loss of the true answer."""
    rows = clicks.rows(clicks.teacher(FIELDS), 1 << 19, seed=99)
    logit, label = rows["logit"].astype(np.float64), rows["label"]
    surprise = np.logaddexp(0.0, logit) - label * logit
    entropy = np.logaddexp(0.0, logit) - logit / (1 + np.exp(-logit))
    assert clicks.bayes(rows["logit"]) == pytest.approx(entropy.mean(), rel=1e-9)
    assert clicks.bayes(rows["logit"]) == pytest.approx(BAYES, abs=4 * entropy.std() / np.sqrt(len(logit)) + 5e-5)
    assert surprise.mean() == pytest.approx(BAYES, abs=4 * surprise.std() / np.sqrt(len(logit)))


def test_the_logit_is_the_sum_that_the_docstring_says():
    law = clicks.teacher(FIELDS)
    rows = clicks.rows(law, 5, seed=3)
    for categories, dense, logit in zip(rows["categories"], rows["dense"], rows["logit"], strict=True):
        values = law.offsets + categories
        raw = law.bias[values].sum() + (law.answer[values] @ dense).sum() + law.linear @ dense
        raw += np.tanh(dense @ law.hidden) @ law.top
        for i in range(len(FIELDS)):
            for j in range(i + 1, len(FIELDS)):
                raw += 0.7 * law.signs[i, j] * (law.latent[values[i]] @ law.latent[values[j]])
        assert logit == pytest.approx((raw - law.centre) / law.scale * 2.0 - 1.5, rel=1e-4, abs=1e-4)


def test_values_follow_zipfs_law(data):
    train = data["train"]["categories"]
    assert train.dtype == np.uint16
    for field, count in enumerate(FIELDS):
        seen = np.bincount(train[:, field], minlength=count) / len(train)
        law = np.arange(1, count + 1) ** -1.1
        law /= law.sum()
        assert len(seen) == count
        assert np.abs(seen - law).max() < 0.005
    assert np.abs(data["train"]["dense"].mean(axis=0)).max() < 0.01


def test_a_longer_log_begins_with_the_shorter_one():
    law = clicks.teacher(FIELDS)
    short, long = clicks.rows(law, 1000, seed=4), clicks.rows(law, 70_000, seed=4)
    for name in short:
        np.testing.assert_array_equal(short[name], long[name][:1000])
    assert np.any(long["dense"][65_536:66_536] != short["dense"])


def test_the_splits_are_these(data):
    assert set(data["train"]) == {"categories", "dense", "label"}
    assert {name: len(part["label"]) for name, part in data.items()} == {
        "train": 1 << 18,
        "eval_train": 512,
        "validation": 1 << 14,
        "test": 1 << 14,
    }
    found = hashlib.sha256()
    for split in ("train", "validation", "test"):
        found.update(data[split]["categories"].tobytes())
    assert found.hexdigest() == "f665bd8d221476018a3c028de26c47968d6f43a86654e188c75d92e2ea9a6f95"
    assert data["validation"]["logit"].dtype == np.float32
    assert data["train"]["label"].mean() == pytest.approx(0.284, abs=0.02)
