"""CTC against the sum over all paths, best-path decoding and word error rates on hand-made cases."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite.tasks import speech

ALPHABET = " ab"


def _collapse(path):
    return [label for label, _ in itertools.groupby(path) if label]


def _brute_force(log_p, labels):
    """-log of the summed probability of every path that collapses to `labels`; log_p [T, C]."""
    total = sum(
        math.exp(sum(log_p[t, label] for t, label in enumerate(path)))
        for path in itertools.product(range(log_p.shape[1]), repeat=len(log_p))
        if _collapse(path) == labels
    )
    return -math.log(total)


@pytest.mark.parametrize(
    ("steps", "labels"),
    [(1, [2]), (2, [1, 2]), (3, [1, 1]), (3, [3]), (4, [2, 2]), (4, [1, 2]), (4, [1, 3, 1]), (4, [2, 2, 1])],
)
def test_ctc_is_the_sum_over_all_paths(steps, labels):
    rng = np.random.default_rng(steps)
    logits = rng.standard_normal((1, 6, 4)).astype(np.float32)
    padded = np.zeros((1, 4), np.int32)
    padded[0, : len(labels)] = labels
    found = speech.ctc(jnp.asarray(logits), jnp.array([steps]), jnp.asarray(padded))
    log_p = np.asarray(jax.nn.log_softmax(logits[0, :steps].astype(np.float64)))
    np.testing.assert_allclose(found * len(labels), [_brute_force(log_p, labels)], rtol=1e-5)


def test_label_smoothing_mixes_in_the_uniform_law():
    logits = jnp.asarray(np.random.default_rng(0).standard_normal((2, 5, 4)), jnp.float32)
    steps, labels = jnp.array([5, 3]), jnp.array([[1, 2, 1], [3, 0, 0]])
    plain, half = (np.asarray(speech.ctc(logits, steps, labels, s)) for s in (0.0, 0.5))
    uniform = -np.mean(np.asarray(jax.nn.log_softmax(logits)), axis=-1)
    expected = np.array([uniform[0].sum() / 3, uniform[1, :3].sum()])
    np.testing.assert_allclose(half, 0.5 * plain + 0.5 * expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([0, 0, 0, 0, 0, 0], ""),
        ([2, 2, 2, 0, 0, 0], "a"),
        ([2, 0, 2, 2, 3, 3], "aab"),
        ([0, 2, 3, 1, 1, 2], "ab a"),
        ([1, 0, 1, 2, 0, 1], "  a "),
    ],
)
def test_greedy_decoding(ids, text):
    assert speech.greedy(np.array([ids]), ALPHABET) == [text]


def test_word_edits():
    said = ["ab ba", "aa", "ab ab ba", "ba"]
    heard = ["ab ba", "", "ab  ba bb", "b a"]
    edits, words = speech.word_edits(said, heard)
    np.testing.assert_array_equal(edits, [0, 1, 2, 2])
    np.testing.assert_array_equal(words, [2, 1, 3, 1])


def test_metrics_of_hand_made_rows():
    labels = np.array([[2, 3, 1, 2], [3, 0, 0, 0]])  # "ab a", "b"
    ids = np.array([[2, 0, 3, 1, 1, 2, 0, 0], [2, 2, 0, 3, 0, 0, 0, 0]])  # "ab a", "ab"
    found = speech.metrics(ALPHABET, {"ids": ids, "labels": labels, "loss": 3.0, "examples": 2.0})
    assert found["wer"] == pytest.approx(1 / 3)
    assert found["token_error_rate"] == pytest.approx(1 / 5)
    assert found["loss"] == pytest.approx(1.5)
    # residuals -2/3 and 2/3, n / (n - 1) = 2, three words
    assert found["wer_se"] == pytest.approx(math.sqrt(2 * 2 * 4 / 9) / 3)


def test_nothing_heard_is_an_error_rate_of_one():
    labels = np.array([[2, 1, 3, 0], [3, 1, 2, 1]])
    found = speech.metrics(ALPHABET, {"ids": np.zeros((2, 6), int), "labels": labels, "loss": 0.0, "examples": 2.0})
    assert found["wer"] == 1.0


def _apply(params, model_state, frames, length, *, train, rate, key):
    """A network without parameters: the frames are the logits."""
    return (frames, length), model_state


def test_sums_ignore_padding_rows_and_steps():
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((3, 6, 4)).astype(np.float32)
    batch = {
        "frames": frames,
        "length": np.array([6, 4, 5]),
        "labels": np.array([[1, 2], [3, 0], [1, 0]]),
        "mask": np.array([1.0, 1.0, 0.0], np.float32),
    }
    found = speech.sums(_apply, {}, {}, batch)
    assert float(found["examples"]) == 2
    each = speech.ctc(frames, batch["length"], batch["labels"])
    assert float(found["loss"]) == pytest.approx(float(each[0] + each[1]), rel=1e-6)
    assert np.all(np.asarray(found["ids"])[1, 4:] == 0)
    changed = frames.copy()
    changed[2] = np.nan
    changed[1, 4:] += 9
    again = speech.sums(_apply, {}, {}, {**batch, "frames": changed})
    assert float(again["loss"]) == pytest.approx(float(found["loss"]), rel=1e-6)
    np.testing.assert_array_equal(np.asarray(again["ids"])[:2], np.asarray(found["ids"])[:2])
