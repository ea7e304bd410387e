"""The generated pair of languages: the rules hold, the floors are the recorded ones, the splits are fixed and apart."""

import hashlib

import numpy as np
import pytest

from algoperf_lite.data import grammar
from algoperf_lite.data.parallel_text import BOS, EOS, PAD
from algoperf_lite.tasks import translation

HASHES = {
    "train": "f77c0ef5d601272b",
    "eval_train": "c126ab1f7e7d8fc9",
    "validation": "148bf74afb8b2e5e",
    "test": "755b80755e81391f",
}


@pytest.fixture(scope="module")
def data():
    return grammar.load(train=16_000, held_out=512, eval_train=128)


def _hash(split):
    return hashlib.sha256(split["source"].tobytes() + split["target"].tobytes()).hexdigest()[:16]


def _sentences(split, side="source"):
    return {row.tobytes() for row in split[side]}


def test_splits_are_fixed(data):
    assert {name: _hash(split) for name, split in data.items()} == HASHES
    assert {name: len(split["source"]) for name, split in data.items()} == {
        "train": 16_000,
        "eval_train": 128,
        "validation": 512,
        "test": 512,
    }


def test_held_out_sources_are_new(data):
    train, validation, test = (_sentences(data[name]) for name in ("train", "validation", "test"))
    assert (len(validation), len(test)) == (512, 512)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert _sentences(data["eval_train"]) <= train


@pytest.mark.parametrize("name", ["train", "eval_train", "validation", "test"])
def test_rows_are_words_then_padding(data, name):
    for side, length, vocabulary in (
        ("source", grammar.SOURCE_LENGTH, grammar.SOURCE_VOCABULARY),
        ("target", grammar.TARGET_LENGTH, grammar.TARGET_VOCABULARY),
    ):
        rows = data[name][side]
        assert rows.dtype == np.int32
        assert rows.shape[1] == length
        assert rows.max() < vocabulary
        assert not np.any(rows == BOS)
        sizes = np.sum(rows != PAD, axis=1)
        np.testing.assert_array_equal(rows != PAD, np.arange(length) < sizes[:, None])
        if side == "target":
            np.testing.assert_array_equal(rows[np.arange(len(rows)), sizes - 1], EOS)
            np.testing.assert_array_equal(np.sum(rows == EOS, axis=1), 1)


def test_every_word_occurs(data):
    assert (grammar.SOURCE_VOCABULARY, grammar.TARGET_VOCABULARY) == (63, 155)
    assert set(np.unique(data["train"]["source"])) == {PAD, *range(3, 63)}
    assert set(np.unique(data["train"]["target"])) == {PAD, EOS, *range(3, 155)}


def test_a_source_has_one_translation_but_for_synonyms(data):
    source, answer = data["train"]["source"], grammar.bayes_answer(data["train"]["target"])
    kinds = len(np.unique(source, axis=0))
    assert kinds < len(source)
    assert len(np.unique(np.concatenate([source, answer], axis=1), axis=0)) == kinds
    assert len(np.unique(np.concatenate([source, data["train"]["target"]], axis=1), axis=0)) > kinds


def test_word_order_and_agreement():
    """One clause by hand: big red dog PLURAL, eat, NEG, PAST with object cat."""
    source, target = grammar._draw(np.random.default_rng(3), 20_000)
    rows = grammar._compact(source, 40), grammar._compact(target, 40)
    sizes = np.sum(rows[0] != PAD, axis=1)
    marks = [grammar._NEG, grammar._PAST, grammar._PLURAL]
    full = [i for i in range(20_000) if sizes[i] == 8 and all(m in rows[0][i] for m in marks) and rows[0][i][3] == marks[2]]
    full = [i for i in full if rows[0][i][7] == grammar._PAST and grammar._NOUN <= rows[0][i][2] < grammar._VERB]
    full = [i for i in full if grammar._ADJECTIVE <= rows[0][i][1] < grammar._PREPOSITION]
    assert full
    for i in full:  # adjective adjective noun plural | object verb neg past
        t = rows[1][i]
        assert grammar._T_PLURAL <= t[0] < grammar._T_ADJECTIVE
        genders = (t[1:3] - grammar._T_ADJECTIVE) // 12
        assert genders[0] == genders[1]
        same = rows[0][i][0] == rows[0][i][1]
        assert same == (t[1] == t[2])
        assert (t[3], t[5], t[6]) == (grammar._T_NOT, grammar._T_PAST, grammar._T_CASE)
        assert (t[4] - grammar._T_VERB) // 16 == 2
        assert t[7] < grammar._T_PLURAL
        assert t[8] == EOS


def test_floors(data):
    target = data["validation"]["target"]
    assert grammar.bayes_loss(target) == pytest.approx(0.0703, abs=5e-5)
    answer = grammar.bayes_answer(target)
    changed = answer != target
    singular = (answer >= grammar._T_NOUN) & (answer < grammar._T_SYNONYM)
    share = changed.sum() / singular.sum()
    assert share == pytest.approx(grammar.SYNONYM, abs=4 * np.sqrt(0.09 / singular.sum()))
    assert not np.any(changed & ~singular)
    assert translation.bleu(answer, target)[0] == pytest.approx(94.749, abs=5e-4)


def test_generation_depends_on_the_sizes_alone(data):
    again = grammar.load(train=16_000, held_out=512, eval_train=128)
    assert {name: _hash(split) for name, split in again.items()} == {name: _hash(split) for name, split in data.items()}


def test_too_many_held_out_sentences_are_refused(monkeypatch):
    monkeypatch.setattr(grammar, "_sentences", lambda rng, n: (np.ones((n, 16), int), np.ones((n, 19), int)))
    with pytest.raises(ValueError, match="do not give 10"):
        grammar.load(train=4, held_out=5, eval_train=2)
