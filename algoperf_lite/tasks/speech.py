"""Speech recognition: connectionist temporal classification and the word error rate.

Label 0 is the blank and the padding of `labels`; label i + 1 is character i of the workload's alphabet, whose space parts
words. Loss: Graves et al., ICML 2006, as `optax.ctc_loss`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rapidfuzz.distance import Levenshtein

from algoperf_lite.data import spoken_digits
from algoperf_lite.tasks.common import where

GATHERED = ("ids", "labels")
"""Rows per example that `sums` gives and `metrics` takes."""


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean over utterances of the CTC loss per label; `frames` [B, T, F], `length` [B], `labels` [B, L].

    The network gives logits [B, S, C] and the number of real steps of each utterance [B].
    """
    (logits, steps), model_state = apply(
        params, model_state, batch["frames"], batch["length"], train=train, rate=reg.dropout_rate, key=key
    )
    return jnp.mean(ctc(logits, steps, batch["labels"], reg.label_smoothing)), model_state


def ctc(logits, steps, labels, label_smoothing=0.0):
    """CTC loss in nats per label: logits [B, S, C], steps [B], labels [B, L] -> [B].

    `label_smoothing` (traced) mixes in the cross-entropy of every real step against the uniform law, summed over steps
    (Kim et al., arXiv 1711.02212, section 3, with the divergence the other way round).
    """
    padding = (jnp.arange(logits.shape[1]) >= steps[:, None]).astype(logits.dtype)
    nats = optax.ctc_loss(logits, padding, labels, (labels == 0).astype(logits.dtype))
    uniform = jnp.sum(where(1.0 - padding, -jnp.mean(jax.nn.log_softmax(logits), axis=-1)), axis=1)
    count = jnp.maximum(jnp.sum(labels > 0, axis=1), 1)
    return ((1.0 - label_smoothing) * nats + label_smoothing * uniform) / count


def sums(apply, params, model_state, batch):
    """Masked sums of examples and loss; rows of the likeliest label of every step, 0 beyond the end, and of `labels`."""
    (logits, steps), _ = apply(params, model_state, batch["frames"], batch["length"], train=False, rate=0.0, key=None)
    real = jnp.arange(logits.shape[1]) < steps[:, None]
    mask = batch["mask"]
    return {
        "examples": jnp.sum(mask),
        "loss": jnp.sum(where(mask, ctc(logits, steps, batch["labels"]))),
        "ids": jnp.where(real, jnp.argmax(logits, axis=-1), 0).astype(jnp.int32),
        "labels": batch["labels"],
    }


def metrics(alphabet: str, totals) -> dict[str, float]:
    """`wer`, word edits over words; `token_error_rate`, the same for characters; the mean `loss` in nats.

    `wer_se` is the ratio estimator's standard error over utterances (Cochran, Sampling Techniques, section 6.3).
    """
    said = [alphabet_text(row[row > 0], alphabet) for row in np.asarray(totals["labels"])]
    heard = greedy(np.asarray(totals["ids"]), alphabet)
    edits, words = word_edits(said, heard)
    wer = edits.sum() / words.sum()
    n = len(words)
    residual = np.sum((edits - wer * words) ** 2) * n / max(n - 1, 1)
    wrong = sum(Levenshtein.distance(a, b) for a, b in zip(said, heard, strict=True))
    return {
        "wer": float(wer),
        "wer_se": float(np.sqrt(residual) / words.sum()),
        "token_error_rate": float(wrong / sum(map(len, said))),
        "loss": float(totals["loss"]) / float(totals["examples"]),
    }


def greedy(ids: np.ndarray, alphabet: str) -> list[str]:
    """Best-path decoding: the likeliest label of every step [N, S], runs merged, then blanks dropped."""
    before = np.concatenate([np.zeros_like(ids[:, :1]), ids[:, :-1]], axis=1)
    kept = (ids > 0) & (ids != before)
    return [alphabet_text(row[keep], alphabet) for row, keep in zip(ids, kept, strict=True)]


def alphabet_text(labels: np.ndarray, alphabet: str) -> str:
    """The characters of labels [L], all positive."""
    return "".join([alphabet[i - 1] for i in labels.tolist()])


def word_edits(said: list[str], heard: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Per utterance: insertions, deletions and substitutions of words, and the words that were said; both [N]."""
    pairs = [(a.split(), b.split()) for a, b in zip(said, heard, strict=True)]
    edits = [Levenshtein.distance(a, b) for a, b in pairs]
    return np.array(edits, np.float64), np.array([len(a) for a, _ in pairs], np.float64)


def draw_joined_digits(size: int, context: int, augmented: bool, data, key, step):
    """`size` utterances of joined digits of the training speakers, drawn anew in every step; keyed by (key, step).

    `augmented`: `spec_augment` hides parts of each.
    """
    bank = data["train"]
    keys = jax.random.split(jax.random.fold_in(key, step), 5)
    speakers, recordings = bank["digit"].shape
    each, one = (size, spoken_digits.MOST), (size, 1)
    utterances = spoken_digits.joined(
        bank,
        jax.random.randint(keys[0], one, 0, speakers),
        jax.random.randint(keys[1], each, 0, recordings),
        jax.random.randint(keys[2], each, 0, spoken_digits.LONGEST_GAP + 1),
        jax.random.randint(keys[3], one, spoken_digits.FEWEST, spoken_digits.MOST + 1),
        context,
        xp=jnp,
    )
    if augmented:
        utterances["frames"] = spec_augment(utterances["frames"], utterances["length"], 2, keys[4])
    return utterances


def spec_augment(frames, length, masks: int, key):
    """Sets `masks` bands of up to a fifth of the bins, and as many spans of up to 16 frames, to 0, the frames' mean.

    SpecAugment without time warping (Park et al., arXiv 1904.08779); frames [B, T, F], lengths [B].
    """
    batch, most, bins = frames.shape

    def covered(key, size, widest, extent):
        """bool [B, size]: what `masks` intervals of width 0..widest within `extent` [B, 1, 1] cover."""
        width_key, start_key = jax.random.split(key)
        width = jax.random.randint(width_key, (batch, masks, 1), 0, widest + 1)
        start = jax.random.uniform(start_key, (batch, masks, 1)) * jnp.maximum(extent - width, 1)
        place = jnp.arange(size) - start.astype(jnp.int32)
        return jnp.any((place >= 0) & (place < width), axis=1)

    time_key, band_key = jax.random.split(key)
    hidden = covered(time_key, most, 16, length[:, None, None])[:, :, None]
    hidden |= covered(band_key, bins, bins // 5, bins)[:, None, :]
    return jnp.where(hidden, 0.0, frames)
