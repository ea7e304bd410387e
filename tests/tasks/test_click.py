"""Click-through: log loss, excess, and the order of the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import log_loss

from algoperf_lite import spec
from algoperf_lite.tasks import click


def _apply(logits):
    return lambda params, state, categories, dense, **_: (jnp.asarray(logits, jnp.float32), state)


def _batch(label, **more):
    n = len(label)
    return {"categories": jnp.zeros((n, 1), jnp.uint8), "dense": jnp.zeros((n, 1)), "label": jnp.asarray(label), **more}


def test_log_loss_and_excess_with_padding():
    rng = np.random.default_rng(0)
    logits, true = rng.standard_normal((2, 40))
    label = (rng.random(40) < 0.3).astype(np.uint8)
    mask = np.r_[np.ones(30), np.zeros(10)].astype(np.float32)
    logits[30:] = np.nan
    batch = _batch(label, logit=jnp.asarray(true, jnp.float32), mask=jnp.asarray(mask))
    found = click.metrics(click.sums(_apply(logits), {}, {}, batch))
    p, q = 1 / (1 + np.exp(-true[:30])), 1 / (1 + np.exp(-logits[:30]))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    assert found["log_loss"] == pytest.approx(log_loss(label[:30], q), rel=1e-5)
    assert found["loss"] == found["log_loss"]
    assert found["excess_nats"] == pytest.approx(divergence.mean(), rel=1e-4)
    assert found["excess_nats_se"] == pytest.approx(divergence.std(ddof=1) / np.sqrt(30), rel=1e-3)


def test_the_excess_of_the_truth_is_0():
    true = jnp.linspace(-30, 30, 13)
    batch = _batch(np.ones(13, np.uint8), logit=true, mask=jnp.ones(13))
    assert click.metrics(click.sums(_apply(true), {}, {}, batch))["excess_nats"] == pytest.approx(0.0, abs=1e-6)


def test_without_the_truth_there_is_no_excess():
    batch = _batch(np.ones(4, np.uint8), mask=jnp.ones(4))
    assert set(click.metrics(click.sums(_apply(np.zeros(4)), {}, {}, batch))) == {"log_loss", "log_loss_se", "loss"}


def test_label_smoothing_mixes_with_a_half():
    label, logits = np.array([0, 1, 1], np.uint8), np.array([0.3, -1.0, 2.0])
    q = 1 / (1 + np.exp(-logits))
    for smoothing in (0.0, 0.4):
        y = (1 - smoothing) * label + smoothing / 2
        value = click.loss(_apply(logits), {}, {}, _batch(label), None, True, spec.Reg(smoothing, 0.0))[0]
        assert float(value) == pytest.approx(-(y * np.log(q) + (1 - y) * np.log(1 - q)).mean(), rel=1e-5)


@pytest.mark.parametrize("count", [1 << 12, 5 << 9])
def test_a_pass_takes_every_row_once(count):
    size = count // 20
    train = {"row": jnp.arange(count)}
    draw = jax.jit(lambda key, step: click.pass_over(size, {"train": train}, key, step)["row"])
    steps = -(-count // size)
    one = np.concatenate([draw(jax.random.key(0), step) for step in range(steps)])
    assert sorted(one[:count].tolist()) == list(range(count))
    np.testing.assert_array_equal(draw(jax.random.key(0), 3), one[3 * size : 4 * size])
    other = np.concatenate([draw(jax.random.key(1), step) for step in range(steps)])
    assert np.any(one != other)
