"""Masked labels: the loss, and mean average precision against scikit-learn."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from algoperf_lite import spec
from algoperf_lite.tasks import multilabel


def _case(seed=0, count=200, labels=5):
    rng = np.random.default_rng(seed)
    y = (rng.random((count, labels)) < [0.05, 0.2, 0.5, 0.7, 0.3][:labels]).astype(np.int8)
    scores = rng.standard_normal((count, labels)) + y
    y[rng.random(y.shape) < 0.2] = -1
    return scores, y


def test_the_mean_is_over_known_labels_as_scikit_learn_has_it():
    scores, labels = _case()
    expected = [average_precision_score(y[y >= 0], s[y >= 0]) for s, y in zip(scores.T, labels.T, strict=True)]
    assert multilabel.mean_average_precision(scores, labels)[0] == pytest.approx(np.mean(expected), rel=1e-12)
    junk = np.where(labels < 0, 1e6, scores)  # what an unknown label's score is does not matter
    assert multilabel.mean_average_precision(junk, labels) == multilabel.mean_average_precision(scores, labels)


def test_labels_without_positives_or_negatives_are_left_out():
    scores, labels = _case(labels=2)
    whole = multilabel.mean_average_precision(scores, labels)
    empty, full, unknown = (np.full((len(labels), 1), value, np.int8) for value in (0, 1, -1))
    more = np.concatenate([labels, empty, full, unknown], axis=1)
    wide = np.concatenate([scores, np.zeros((len(labels), 3))], axis=1)
    assert multilabel.mean_average_precision(wide, more) == pytest.approx(whole, rel=1e-12)
    assert np.isnan(multilabel.mean_average_precision(scores[:, :1], empty)).all()


def test_scores_that_are_not_finite_have_no_metric():
    scores, labels = _case()
    scores[3, 1] = np.nan
    assert np.isnan(multilabel.mean_average_precision(scores, labels)).all()


def test_the_standard_error_is_that_of_the_bootstrap():
    scores, labels = _case(seed=3, count=600)
    error = multilabel.mean_average_precision(scores, labels)[1]
    rng = np.random.default_rng(4)
    rows = rng.integers(0, len(labels), (200, len(labels)))
    bootstrap = [multilabel.mean_average_precision(scores[r], labels[r])[0] for r in rows]
    assert error == pytest.approx(np.std(bootstrap), rel=0.15)


def _apply(logits):
    return lambda params, state, batch, **_: (jnp.asarray(logits, jnp.float32), state)


def test_loss_is_the_mean_over_known_labels():
    logits, labels = _case(count=8)
    batch = {"labels": jnp.asarray(labels)}

    def loss(smoothing):
        return float(multilabel.loss(_apply(logits), {}, {}, batch, None, True, spec.Reg(smoothing, 0.0))[0])

    known = labels >= 0
    p = 1 / (1 + np.exp(-logits))
    for smoothing in (0.0, 0.2):
        y = (1 - smoothing) * labels + smoothing / 2
        nats = -(y * np.log(p) + (1 - y) * np.log(1 - p))
        assert loss(smoothing) == pytest.approx(nats[known].mean(), rel=1e-5)


def test_a_batch_without_known_labels_has_loss_0():
    batch = {"labels": jnp.full((4, 5), -1, jnp.int8)}
    assert float(multilabel.loss(_apply(np.ones((4, 5))), {}, {}, batch, None, True, spec.NO_REG)[0]) == 0.0


def test_sums_leave_padding_out():
    logits, labels = _case(count=8)
    mask = np.r_[np.ones(5), np.zeros(3)].astype(np.float32)
    logits[5:] = np.nan
    found = multilabel.sums(_apply(logits), {}, {}, {"labels": jnp.asarray(labels), "mask": jnp.asarray(mask)})
    assert float(found["known"]) == (labels[:5] >= 0).sum()
    kept = {name: np.asarray(value)[:5] if name in ("scores", "labels") else value for name, value in found.items()}
    metrics = multilabel.metrics(kept)
    p = 1 / (1 + np.exp(-logits[:5]))
    nats = -np.where(labels[:5] == 1, np.log(p), np.log(1 - p))[labels[:5] >= 0]
    assert metrics["loss"] == pytest.approx(nats.mean(), rel=1e-5)
