"""Several binary labels per example, some of them unknown: masked sigmoid cross-entropy and mean average precision.

Labels are 0, 1 or -1 where nobody knows. As in the Open Graph Benchmark (arXiv 2005.00687), a label without a known
positive, or without a known negative, has no average precision and is left out of the mean.
"""

import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import average_precision_score

from algoperf_lite.tasks.common import where

_MIX = 0.5  # what label smoothing mixes into a binary label


def _cross_entropy(logits, labels, label_smoothing=0.0):
    """Nats per label [B, L] and the mask of known labels."""
    known = (labels >= 0).astype(jnp.float32)
    wanted = (1.0 - label_smoothing) * jnp.maximum(labels, 0).astype(jnp.float32) + label_smoothing * _MIX
    return optax.sigmoid_binary_cross_entropy(logits, wanted), known


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean cross-entropy over the known labels of a batch of graphs with `labels` [B, L]."""
    logits, model_state = apply(params, model_state, batch, train=train, rate=reg.dropout_rate, key=key)
    nats, known = _cross_entropy(logits, batch["labels"], reg.label_smoothing)
    return jnp.sum(where(known, nats)) / jnp.maximum(jnp.sum(known), 1.0), model_state


def sums(apply, params, model_state, batch):
    """Scores and labels as rows, and masked sums of the cross-entropy and of the number of known labels."""
    logits, _ = apply(params, model_state, batch, train=False, rate=0.0, key=None)
    nats, known = _cross_entropy(logits, batch["labels"])
    known = known * batch["mask"][:, None]
    return {
        "scores": logits,
        "labels": batch["labels"],
        "loss": jnp.sum(where(known, nats)),
        "known": jnp.sum(known),
    }


def metrics(totals) -> dict[str, float]:
    """`mean_average_precision` with its standard error over examples, and the mean `loss` in nats per known label."""
    scores, labels = np.asarray(totals["scores"], np.float64), np.asarray(totals["labels"])
    precision, error = mean_average_precision(scores, labels)
    return {
        "mean_average_precision": precision,
        "mean_average_precision_se": error,
        "loss": float(totals["loss"]) / max(float(totals["known"]), 1.0),
    }


def mean_average_precision(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Mean over labels of scikit-learn's average precision on the known labels, and its standard error over examples.

    NaN where a score is not finite, or no label has both a positive and a negative.

    Args:
      scores: [N, L].
      labels: [N, L] of 0, 1, and -1 for unknown.
    """
    values, influence = [], np.zeros(len(scores))
    if not np.all(np.isfinite(scores)):
        return float("nan"), float("nan")
    for score, label in zip(scores.T, labels.T, strict=True):
        rows = np.flatnonzero(label >= 0)
        positive = label[rows] == 1
        if positive.any() and not positive.all():
            values.append(average_precision_score(positive, score[rows]))
            influence[rows] += _influence(score[rows], positive, values[-1]) * len(scores) / len(rows)
    if not values:
        return float("nan"), float("nan")
    error = np.std(influence / len(values)) / np.sqrt(len(scores))
    return float(np.mean(values)), float(error)


def _influence(score: np.ndarray, positive: np.ndarray, average: float) -> np.ndarray:
    """First-order effect of each example on the average precision (its influence function), ties in any order.

    With y the label, P(s) the precision among scores of at least s and G(s) their share, AP = E[y P] / E[y]; example k
    changes the numerator by y_k P(s_k) and, through P, by the mean over s <= s_k of y (y_k - P) / G.
    """
    order = np.argsort(-score, kind="stable")
    y = positive[order].astype(np.float64)
    rank = np.arange(1, len(y) + 1)
    precision = np.cumsum(y) / rank
    below = np.cumsum((y / rank)[::-1])[::-1]
    below_weighted = np.cumsum((y * precision / rank)[::-1])[::-1]
    found = np.empty(len(y))
    found[order] = (y * (precision - average) + y * below - below_weighted) / y.mean()
    return found
