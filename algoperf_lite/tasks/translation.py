"""Translation: cross-entropy per token, decoding by greedy or beam search, BLEU of a whole split by sacrebleu.

A search is a function (step, fixed, past) -> tokens [B, length], as `models.seq2seq.Seq2Seq` calls it, its other arguments
bound by the workload. It ends a sentence with `EOS`, pads with `PAD`, and never chooses `PAD` or `BOS`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from sacrebleu.metrics.bleu import BLEU

from algoperf_lite.data.parallel_text import BOS, EOS, PAD
from algoperf_lite.tasks.common import cross_entropy, where

_GROUPS = 20  # of sentences, for the jackknife
_NEVER = -1e7  # log-probability of what cannot be, as in flax's decoder; finite, so that sums stay ordered


def loss(apply, params, model_state, batch, key, train, reg):
    """Mean cross-entropy per token, `EOS` included, over pairs `source` [B, S], `target` [B, T]."""
    target = batch["target"]
    logits, model_state = apply(
        params, model_state, batch["source"], shifted(target), train=train, rate=reg.dropout_rate, key=key
    )
    real = target != PAD
    return jnp.sum(where(real, cross_entropy(logits, target, reg.label_smoothing))) / jnp.sum(real), model_state


def shifted(target):
    """What a decoder reads to predict `target` [B, T]: `BOS`, then all but the last token."""
    return jnp.pad(target[:, :-1], ((0, 0), (1, 0)), constant_values=BOS)


def sums(apply, search, params, model_state, batch):
    """Masked sums over tokens of cross-entropy and right guesses given the true prefix; rows `decoded`, `reference`."""
    target = batch["target"]
    (logits, decoded), _ = apply(
        params, model_state, batch["source"], shifted(target), train=False, rate=0.0, key=None, search=search
    )
    real = (target != PAD) & (batch["mask"][:, None] > 0)
    return {
        "tokens": jnp.sum(real),
        "loss": jnp.sum(where(real, cross_entropy(logits, target))),
        "right": jnp.sum(real & (jnp.argmax(logits, axis=-1) == target)),
        "decoded": decoded,
        "reference": batch.get("reference", target),
    }


def metrics(totals) -> dict[str, float]:
    """`bleu` in per cent with its standard error, `token_accuracy`, and the mean `loss` in nats per token."""
    tokens = float(totals["tokens"])
    score, error = bleu(totals["decoded"], totals["reference"])
    return {
        "bleu": score,
        "bleu_se": error,
        "token_accuracy": float(totals["right"]) / tokens,
        "loss": float(totals["loss"]) / tokens,
    }


# ------------------------------------------------------------------------------------------------------- BLEU


def bleu(decoded: np.ndarray, references: np.ndarray) -> tuple[float, float]:
    """Corpus BLEU in per cent of rows [N, T] of tokens, and its standard error by a jackknife over groups of sentences.

    The rows are tokens already, so sacrebleu splits at blanks only (`tokenize="none"`): the value is comparable with others
    on the same tokens, not with BLEU of detokenised text. The groups take every 20th sentence.
    """
    metrics = _against(np.asarray(references).tobytes(), str(references.dtype), references.shape[1])
    groups, said = len(metrics), [text(row) for row in decoded.tolist()]
    parts = [metric.corpus_score(said[i::groups], None) for i, metric in enumerate(metrics)]
    counts = np.array([[*part.counts, *part.totals, part.sys_len, part.ref_len] for part in parts])
    whole = counts.sum(0)
    without = np.array([_score(whole - part) for part in counts])
    error = np.sqrt((groups - 1) / groups * np.sum((without - without.mean()) ** 2))
    return _score(whole), float(error)


@functools.lru_cache(maxsize=4)  # a split's references are the same at every evaluation
def _against(references: bytes, dtype: str, length: int) -> list[BLEU]:
    """A metric for each group of the jackknife, which has counted its references already."""
    texts = [text(row) for row in np.frombuffer(references, dtype).reshape(-1, length).tolist()]
    groups = min(_GROUPS, len(texts))
    return [BLEU(tokenize="none", force=True, references=[texts[i::groups]]) for i in range(groups)]


def text(row: list[int]) -> str:
    """The tokens before `EOS` as words."""
    end = row.index(EOS) if EOS in row else len(row)
    return " ".join(str(token) for token in row[:end] if token != PAD)


def _score(counts: np.ndarray) -> float:
    matched, possible, (length, reference) = counts[:4].tolist(), counts[4:8].tolist(), counts[8:].tolist()
    # A count of 0 is smoothed as `corpus_score` does by default (Chen and Cherry, 2014, method 3).
    return float(BLEU.compute_bleu(matched, possible, length, reference, smooth_method="exp").score)


# ----------------------------------------------------------------------------------------------------- search


def greedy(step, fixed, past, *, length: int):
    """The most probable token at every position, up to `length`; stops where every sentence has ended."""
    size = jax.tree.leaves(past)[0].shape[0]

    def unfinished(state):
        position, _, ended, _, _ = state
        return (position < length) & ~jnp.all(ended)

    def advance(state):
        position, last, ended, tokens, past = state
        logits, past = step(fixed, past, last, position)
        token = jnp.where(ended, PAD, jnp.argmax(_allowed(logits), axis=-1).astype(jnp.int32))
        tokens = jax.lax.dynamic_update_slice_in_dim(tokens, token[:, None], position, axis=1)
        return position + 1, token, ended | (token == EOS), tokens, past

    start = jnp.full(size, BOS, jnp.int32), jnp.zeros(size, bool), jnp.full((size, length), PAD, jnp.int32), past
    return jax.lax.while_loop(unfinished, advance, (0, *start))[3]


def beam_search(step, fixed, past, *, length: int, beams: int, alpha: float):
    """The best finished sentence by log-probability / ((5 + tokens) / 6)^alpha (Wu et al., arXiv 1609.08144, eq. 14).

    As flax's WMT decoder, which AlgoPerf uses: `beams` live and `beams` finished hypotheses are kept apart, and a search
    ends where no live one can overtake, or at `length`; unlike there, only an `EOS` among a step's best `beams` candidates
    ends a hypothesis, so that one beam with alpha 0 is greedy search. A sentence without a finished hypothesis gives its
    best live one.
    """
    size = jax.tree.leaves(past)[0].shape[0]
    fixed = jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0), fixed)
    rows = jnp.arange(size)[:, None]

    def penalty(tokens):
        return ((5.0 + tokens) / 6.0) ** alpha

    def unfinished(state):
        position, live, _, _, scores, _, _ = state
        overtaken = jnp.min(scores, axis=1) >= jnp.max(live, axis=1) / penalty(float(length))
        return (position < length) & ~jnp.all(overtaken)

    def advance(state):
        position, live, last, tokens, scores, finished, past = state
        logits, past = step(fixed, past, last.reshape(-1), position)
        log_p = jax.nn.log_softmax(_allowed(logits)).reshape(size, beams, -1)
        vocabulary = log_p.shape[-1]
        total, index = jax.lax.top_k((live[..., None] + log_p).reshape(size, -1), 2 * beams)
        parent, token = index // vocabulary, index % vocabulary
        grown = jax.lax.dynamic_update_slice_in_dim(tokens[rows, parent], token[..., None], position, axis=2)
        ends = token == EOS
        ended = jnp.where(ends & (jnp.arange(2 * beams) < beams), total / penalty(position + 1.0), _NEVER)
        scores, best = jax.lax.top_k(jnp.concatenate([scores, ended], axis=1), beams)
        finished = jnp.concatenate([finished, grown], axis=1)[rows, best]
        live, best = jax.lax.top_k(jnp.where(ends, _NEVER, total), beams)
        parent = (parent[rows, best] + rows * beams).reshape(-1)
        past = jax.tree.map(lambda x: x[parent], past)
        return position + 1, live, token[rows, best], grown[rows, best], scores, finished, past

    none = jnp.full((size, beams, length), PAD, jnp.int32)
    start = (
        jnp.int32(0),
        jnp.tile(jnp.where(jnp.arange(beams) == 0, 0.0, _NEVER), (size, 1)),  # the beams start equal: one is enough
        jnp.full((size, beams), BOS, jnp.int32),
        none,
        jnp.full((size, beams), _NEVER),
        none,
        jax.tree.map(lambda x: jnp.repeat(x, beams, axis=0), past),
    )
    tokens, scores, finished = jax.lax.while_loop(unfinished, advance, start)[3:6]
    any_finished = scores[:, :1] > _NEVER / 2
    return jnp.where(any_finished, finished[:, 0], tokens[:, 0])


def _allowed(logits):
    """Without `PAD` and `BOS`."""
    return logits.at[..., jnp.array([PAD, BOS])].set(_NEVER)
