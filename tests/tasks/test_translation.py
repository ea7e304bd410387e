"""Loss, searches and BLEU of the translation task."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sacrebleu

from algoperf_lite import spec
from algoperf_lite.data.parallel_text import BOS, EOS, PAD
from algoperf_lite.tasks import translation

NO_MASK = {"mask": np.ones(2, np.float32)}

# ---------------------------------------------------------------------------------------------------- loss, sums


def _apply(params, state, source, target, *, train, rate, key, search=None):
    """A model of 7 tokens whose logits depend on the token before alone."""
    logits = params[target]
    return (logits if search is None else (logits, jnp.tile(jnp.array([5, EOS, PAD]), (len(source), 1)))), state


@pytest.fixture(scope="module")
def table():
    return np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)


BATCH = {"source": np.ones((2, 2), np.int32), "target": np.array([[5, 4, EOS], [6, EOS, PAD]], np.int32)}


def test_loss_is_the_mean_over_unpadded_tokens(table):
    log_p = np.asarray(jax.nn.log_softmax(table))
    pairs = [(BOS, 5), (5, 4), (4, EOS), (BOS, 6), (6, EOS)]
    expected = -np.mean([log_p[a, b] for a, b in pairs])
    loss, _ = translation.loss(_apply, table, {}, BATCH, None, True, spec.NO_REG)
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    smooth, _ = translation.loss(_apply, table, {}, BATCH, None, True, spec.Reg(0.1, 0.0))
    uniform = -np.mean([log_p[a].mean() for a, _ in pairs])
    assert float(smooth) == pytest.approx(0.9 * expected + 0.1 * uniform, rel=1e-6)


def test_metrics_of_sums(table):
    sums = translation.sums(_apply, "search", table, {}, {**BATCH, **NO_MASK})
    found = translation.metrics(jax.device_get(sums))
    loss, _ = translation.loss(_apply, table, {}, BATCH, None, True, spec.NO_REG)
    assert found["loss"] == pytest.approx(float(loss), rel=1e-6)
    right = sum(table[a].argmax() == b for a, b in [(BOS, 5), (5, 4), (4, EOS), (BOS, 6), (6, EOS)])
    assert found["token_accuracy"] == right / 5
    assert found["bleu"] == translation.bleu(np.array([[5, EOS, PAD]] * 2), BATCH["target"])[0]
    masked = translation.sums(_apply, "search", table, {}, {**BATCH, "mask": np.array([1.0, 0.0])})
    assert (int(masked["tokens"]), int(sums["tokens"])) == (3, 5)
    other = translation.sums(_apply, "search", table, {}, {**BATCH, **NO_MASK, "reference": np.ones((2, 3))})
    np.testing.assert_array_equal(other["reference"], np.ones((2, 3)))


# --------------------------------------------------------------------------------------------------------- BLEU


def _rows(size, seed, length=12, words=9):
    rng = np.random.default_rng(seed)
    rows = rng.integers(3, words, (size, length))
    rows[np.arange(size), rng.integers(1, length, size)] = EOS
    after = np.cumsum(rows == EOS, axis=1) - (rows == EOS) > 0
    return np.where(after, PAD, rows)


@pytest.mark.parametrize("size", [3, 60])
def test_bleu_is_sacrebleus_on_words(size):
    names = ["", "", "", "the", "cat,", "dog.", "犬", "。", "(x)"]
    decoded, references = _rows(size, 1), _rows(size, 2)
    decoded[: size // 2] = references[: size // 2]

    def words(rows):
        return [" ".join(names[n] for n in itertools.takewhile(lambda n: n != EOS, row)) for row in rows]

    expected = sacrebleu.corpus_bleu(words(decoded), [words(references)], tokenize="none", force=True).score
    assert 20 < expected < 80
    assert translation.bleu(decoded, references)[0] == pytest.approx(expected, rel=1e-12)


def test_counts_of_zero_are_smoothed_as_sacrebleu_does():
    decoded, references = np.array([[3, 4, 5, 9, EOS], [6, 7, 8, 9, EOS]]), np.array([[3, 4, 6, 9, EOS], [6, 8, 7, 9, EOS]])
    expected = sacrebleu.corpus_bleu(["3 4 5 9", "6 7 8 9"], [["3 4 6 9", "6 8 7 9"]], tokenize="none", force=True)
    assert expected.counts[3] == 0
    assert expected.score > 1
    assert translation.bleu(decoded, references)[0] == pytest.approx(expected.score, rel=1e-12)


def test_bleu_of_ends():
    rows = _rows(40, 3)
    assert translation.bleu(rows, rows) == (pytest.approx(100), pytest.approx(0))
    assert translation.bleu(np.full_like(rows, PAD), rows)[0] == 0
    beyond = rows.copy()
    beyond[:, 1:][rows[:, 1:] == PAD] = 7  # what stands after EOS is not read
    assert translation.bleu(beyond, rows)[0] == pytest.approx(100)


def test_standard_error_is_that_of_resampled_sentences():
    rng = np.random.default_rng(0)
    references, decoded = _rows(400, 4), _rows(400, 5)
    right = rng.random(400) < 0.5
    decoded[right] = references[right]
    samples = [translation.bleu(decoded[i], references[i])[0] for i in rng.integers(0, 400, (30, 400))]
    assert translation.bleu(decoded, references)[1] == pytest.approx(np.std(samples), rel=0.6)


# ------------------------------------------------------------------------------------------------------- search


def _chain(table):
    """A model whose next token depends on all before through the sum of a table's rows; `past` counts the tokens."""

    def step(fixed, past, tokens, position):
        past = 0.5 * past + table[tokens]
        return past + fixed, past

    return step


def _start(size, words, seed=0):
    rng = np.random.default_rng(seed)
    fixed = rng.standard_normal((size, words)).astype(np.float32)
    return jnp.asarray(fixed), jnp.zeros((size, words))


def _random(words, seed):
    return jnp.asarray(2 * np.random.default_rng(seed).standard_normal((words, words)), jnp.float32)


def test_one_beam_is_greedy():
    step, (fixed, past) = _chain(_random(9, 1)), _start(64, 9)
    greedy = translation.greedy(step, fixed, past, length=8)
    beam = translation.beam_search(step, fixed, past, length=8, beams=1, alpha=0.0)
    np.testing.assert_array_equal(beam, greedy)
    lengths = np.sum(np.asarray(greedy) != PAD, axis=1)
    assert lengths.min() < 4
    assert lengths.max() == 8
    assert not np.any(np.asarray(greedy) == BOS)


def test_a_beam_finds_what_greedy_search_misses():
    """After BOS, A .6 or B .4; after A four ways, the end among them at .25; after B the end at 1."""
    a, b, c, d = 3, 4, 5, 6
    p = np.full((7, 7), 1e-9)
    p[BOS, [a, b]] = 0.6, 0.4
    p[a, [EOS, b, c, d]] = 0.25, 0.26, 0.25, 0.24
    p[[b, c, d], EOS] = 1.0
    table = jnp.log(jnp.asarray(p / p.sum(1, keepdims=True), jnp.float32))

    def step(fixed, past, tokens, position):
        return table[tokens], past

    empty = jnp.zeros((2, 1))
    greedy = translation.greedy(step, {}, empty, length=5)
    assert greedy.tolist() == [[a, b, EOS, PAD, PAD]] * 2
    beam = translation.beam_search(step, {}, empty, length=5, beams=2, alpha=0.0)
    assert beam.tolist() == [[b, EOS, PAD, PAD, PAD]] * 2


@pytest.mark.parametrize("alpha", [0.0, 0.6, 2.0])
def test_all_beams_are_exhaustive_search(alpha):
    words, length, size = 5, 4, 12
    step, (fixed, past) = _chain(_random(words, 3)), _start(size, words, 4)
    usable = [w for w in range(words) if w not in (PAD, BOS, EOS)]
    sentences = [[*body, EOS] for n in range(length) for body in itertools.product(usable, repeat=n)]
    scores = np.empty((size, len(sentences)))
    for j, sentence in enumerate(sentences):
        state, total, last = past, 0.0, np.full(size, BOS)
        for token in sentence:
            logits, state = step(fixed, state, last, 0)
            log_p = jax.nn.log_softmax(logits.at[:, jnp.array([PAD, BOS])].set(-jnp.inf))
            total, last = total + log_p[:, token], np.full(size, token)
        scores[:, j] = total / ((5 + len(sentence)) / 6) ** alpha
    best = [sentences[j] + [PAD] * (length - len(sentences[j])) for j in scores.argmax(1)]
    # With as many beams as prefixes, every EOS is among the best candidates.
    beam = translation.beam_search(step, fixed, past, length=length, beams=20, alpha=alpha)
    assert beam.tolist() == best
    assert len({tuple(row) for row in best}) > 2


def test_more_beams_give_no_worse_sentences():
    step, (fixed, past) = _chain(_random(9, 5)), _start(64, 9, 6)
    fixed = fixed.at[:, EOS].add(2.0)
    search = functools.partial(translation.beam_search, step, fixed, past, length=8, alpha=0.0)

    def log_p(tokens):
        state, total = past, 0.0
        for t, last in enumerate(np.asarray(translation.shifted(tokens)).T):
            logits, state = step(fixed, state, last, t)
            own = jax.nn.log_softmax(logits.at[:, jnp.array([PAD, BOS])].set(-jnp.inf))
            total += np.where(tokens[:, t] == PAD, 0.0, own[np.arange(64), tokens[:, t]])
        return total

    found = {beams: np.asarray(search(beams=beams)) for beams in (1, 4)}
    ended = np.all([np.any(tokens == EOS, axis=1) for tokens in found.values()], axis=0)
    gain = (log_p(found[4]) - log_p(found[1]))[ended]
    assert gain.mean() > 0.05
    assert np.mean(gain < -1e-5) < 0.05


def test_an_unfinished_sentence_is_cut():
    table = jnp.asarray(np.eye(5)[[4, 4, 4, 4, 3]] * 20.0, jnp.float32)  # 4 3 4 3 ..., never EOS

    def step(fixed, past, tokens, position):
        return table[tokens], past

    expected = [[4, 3, 4]] * 3
    assert translation.greedy(step, {}, jnp.zeros((3, 1)), length=3).tolist() == expected
    assert translation.beam_search(step, {}, jnp.zeros((3, 1)), length=3, beams=1, alpha=0.6).tolist() == expected
