"""A generated pair of languages: sentences of a small grammar and their translation by rules.

Source: S [PP] O V [neg] [past], a second clause after "and" with probability .35; a noun phrase is 0 to 2 adjectives, a
noun and perhaps a plural marker. Target: S [not] V [past] O [PP]: adjectives follow their noun in reversed order and agree
with its gender, plural nouns are words of their own, a case particle stands before the object, and the verb has three
forms: by the gender of a singular subject, or plural. All of that is certain given the source, except that a singular noun
becomes its rarer synonym with probability .1: the only cause of the Bayes answer's loss and of its BLEU under 100.
"""

import numpy as np

from algoperf_lite.data.parallel_text import EOS, PAD

SOURCE_LENGTH = 16
TARGET_LENGTH = 19  # with EOS; no translation of 16 words is longer
SYNONYM = 0.1

_NOUNS, _VERBS, _ADJECTIVES, _PREPOSITIONS = 24, 16, 12, 4
_SUBJECT, _OBJECT, _ADJUNCT = range(3)  # phrases of a clause


def _ranges(*sizes: int) -> list[int]:
    """First numbers of consecutive ranges of words, after PAD, BOS and EOS; the last is the vocabulary's size."""
    return [3, *(3 + int(end) for end in np.cumsum(sizes))]


_NOUN, _VERB, _ADJECTIVE, _PREPOSITION, _PLURAL, _NEG, _PAST, _AND, SOURCE_VOCABULARY = _ranges(
    _NOUNS, _VERBS, _ADJECTIVES, _PREPOSITIONS, 1, 1, 1, 1
)
# Nouns of the target: singular, synonym, plural; adjectives by gender; verbs by form.
(
    _T_NOUN,
    _T_SYNONYM,
    _T_PLURAL,
    _T_ADJECTIVE,
    _T_VERB,
    _T_PREPOSITION,
    _T_NOT,
    _T_PAST,
    _T_CASE,
    _T_AND,
    TARGET_VOCABULARY,
) = _ranges(_NOUNS, _NOUNS, _NOUNS, 2 * _ADJECTIVES, 3 * _VERBS, _PREPOSITIONS, 1, 1, 1, 1)


def load(train: int, held_out: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits `train`, `eval_train`, `validation`, `test`: `source` [N, 16] and `target` [N, 19] int32.

    Sentences that do not fit are drawn again. No source of validation or test occurs in another split or twice in its own;
    training sentences repeat as the law has it. `eval_train` are the first of `train`. The splits that are evaluated are
    sorted by the source's length, so that a batch of short sentences can stop decoding early.
    """
    source, target = _sentences(np.random.default_rng(0), train)
    more_source, more_target = _sentences(np.random.default_rng(1), 4 * held_out)
    kinds, first = np.unique(np.concatenate([source, more_source]), axis=0, return_index=True)
    rows = np.sort(first[first >= train])[: 2 * held_out] - train
    if len(rows) < 2 * held_out:
        raise ValueError(f"{len(kinds)} different sentences do not give {2 * held_out} held-out ones")
    return {
        "train": {"source": source, "target": target},
        "eval_train": _by_length(source[:eval_train], target[:eval_train]),
        "validation": _by_length(more_source[rows[:held_out]], more_target[rows[:held_out]]),
        "test": _by_length(more_source[rows[held_out:]], more_target[rows[held_out:]]),
    }


def bayes_answer(target: np.ndarray) -> np.ndarray:
    """The most probable translation of the sources of these targets [N, T]: every synonym as the common noun."""
    synonym = (target >= _T_SYNONYM) & (target < _T_PLURAL)
    return np.where(synonym, target - _NOUNS, target)


def bayes_loss(target: np.ndarray) -> float:
    """Nats per token, EOS included, of the true law on the sources of these targets: the synonyms' entropy."""
    uncertain = np.sum((target >= _T_NOUN) & (target < _T_PLURAL))
    entropy = -SYNONYM * np.log(SYNONYM) - (1 - SYNONYM) * np.log1p(-SYNONYM)
    return float(entropy * uncertain / np.sum(target != PAD))


def _by_length(source: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    order = np.argsort(np.sum(source != PAD, axis=1), kind="stable")
    return {"source": source[order], "target": target[order]}


def _sentences(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` pairs that fit, of twice as many drawn."""
    source, target = _draw(rng, 2 * count)
    rows = np.flatnonzero(np.sum(source != PAD, axis=1) <= SOURCE_LENGTH)[:count]
    if len(rows) < count:
        raise ValueError(f"only {len(rows)} of {2 * count} drawn sentences fit, not {count}")
    return _compact(source[rows], SOURCE_LENGTH), _compact(target[rows], TARGET_LENGTH)


def _compact(slots: np.ndarray, length: int) -> np.ndarray:
    """Filled slots of each row to the left, in order, cut to `length`."""
    order = np.argsort(slots == PAD, axis=1, kind="stable")[:, :length]
    return np.take_along_axis(slots, order, axis=1).astype(np.int32)


def _draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """n sentences as rows of slots, one for each word that could stand there, PAD where it does not."""
    lexicon = np.random.default_rng(77)
    to_noun, to_verb, to_adjective, to_preposition = map(lexicon.permutation, (_NOUNS, _VERBS, _ADJECTIVES, _PREPOSITIONS))
    gender = lexicon.integers(0, 2, _NOUNS)
    phrases, clauses = (n, 2, 3), (n, 2)
    noun, verb = _zipf(rng, _NOUNS, phrases), _zipf(rng, _VERBS, clauses)
    adjective, preposition = _zipf(rng, _ADJECTIVES, (*phrases, 2)), rng.integers(0, _PREPOSITIONS, clauses)
    adjectives = rng.choice(3, phrases, p=(0.5, 0.35, 0.15))[..., None] > np.arange(2)
    plural, synonym = rng.random(phrases) < 0.3, rng.random(phrases) < SYNONYM
    adjunct, negated, past = (rng.random(clauses) < p for p in (0.35, 0.25, 0.3))
    second = rng.random(n) < 0.35

    def where(present, word):
        return np.where(present, word, PAD)[..., None]

    # A phrase [n, 2, 3, 4]: two adjectives, noun, plural marker; in the target noun and two adjectives.
    described = np.where(adjectives, _ADJECTIVE + adjective, PAD)
    phrase = np.concatenate([described, (_NOUN + noun)[..., None], where(plural, _PLURAL)], axis=-1)
    agreeing = np.where(adjectives, _T_ADJECTIVE + _ADJECTIVES * gender[noun][..., None] + to_adjective[adjective], PAD)
    form = np.where(plural, _T_PLURAL, np.where(synonym, _T_SYNONYM, _T_NOUN))
    translated = np.concatenate([(form + to_noun[noun])[..., None], agreeing[..., ::-1]], axis=-1)
    verb_form = np.where(plural[..., _SUBJECT], 2, gender[noun[..., _SUBJECT]])
    always = np.ones(clauses, bool)
    source = np.concatenate(
        [
            phrase[..., _SUBJECT, :],
            where(adjunct, _PREPOSITION + preposition),
            np.where(adjunct[..., None], phrase[..., _ADJUNCT, :], PAD),
            phrase[..., _OBJECT, :],
            where(always, _VERB + verb),
            where(negated, _NEG),
            where(past, _PAST),
        ],
        axis=-1,
    )
    target = np.concatenate(
        [
            translated[..., _SUBJECT, :],
            where(negated, _T_NOT),
            where(always, _T_VERB + _VERBS * verb_form + to_verb[verb]),
            where(past, _T_PAST),
            where(always, _T_CASE),
            translated[..., _OBJECT, :],
            where(adjunct, _T_PREPOSITION + to_preposition[preposition]),
            np.where(adjunct[..., None], translated[..., _ADJUNCT, :], PAD),
        ],
        axis=-1,
    )
    end = np.full((n, 1), EOS)
    both = [
        np.concatenate([c[:, 0], where(second, joint), np.where(second[:, None], c[:, 1], PAD)], axis=-1)
        for c, joint in ((source, _AND), (target, _T_AND))
    ]
    return both[0], np.concatenate([both[1], end], axis=-1)


def _zipf(rng: np.random.Generator, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """Ranks 0 to size - 1 with probability proportional to 1 / (rank + 1)."""
    weight = 1.0 / np.arange(1, size + 1)
    return rng.choice(size, shape, p=weight / weight.sum())
