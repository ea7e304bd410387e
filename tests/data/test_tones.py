"""The generated spoken language."""

import numpy as np
import pytest

from algoperf_lite.data import tones


@pytest.fixture(scope="module")
def splits():
    return tones.load(context=64, train=256, held_out=64, eval_train=16)


def test_splits(splits):
    assert {name: len(split["length"]) for name, split in splits.items()} == {
        "train": 256,
        "validation": 64,
        "test": 64,
        "eval_train": 16,
    }
    for split in splits.values():
        assert split["frames"].dtype == np.float32
        assert split["frames"].shape[1:] == (64, tones.BINS)
        assert {split["length"].dtype, split["labels"].dtype} == {np.dtype(np.int32)}
    np.testing.assert_array_equal(splits["eval_train"]["frames"], splits["train"]["frames"][:16])
    assert not np.array_equal(splits["validation"]["labels"], splits["test"]["labels"])


def test_frames_are_standardised_and_end_in_zeros(splits):
    train = splits["train"]
    heard = np.arange(64) < train["length"][:, None]
    assert np.all(train["frames"][~heard] == 0)
    assert train["frames"][heard].mean() == pytest.approx(0, abs=1e-4)
    assert train["frames"][heard].std() == pytest.approx(1, abs=1e-4)
    assert train["length"].max() <= 64
    assert train["length"].min() >= 23  # two words of two letters of 5 frames, a silence of 3


def test_transcripts_are_words_of_the_lexicon(splits):
    words = tones.lexicon()
    assert len(set(words)) == tones.WORDS
    for row in splits["train"]["labels"]:
        count = np.count_nonzero(row)
        assert np.all(row[count:] == 0)
        said = "".join(tones.ALPHABET[i - 1] for i in row[:count]).split(" ")
        assert 2 <= len(said) <= 3
        assert set(said) <= set(words)


def test_silence_is_quieter_than_letters(splits):
    train = splits["train"]
    first, last = [], []
    for frames, length in zip(train["frames"], train["length"], strict=True):
        first.append(frames[:5].max(axis=1).mean())  # the first letter lasts 5 frames or more
        last.append(frames[:length].max(axis=1).min())  # somewhere within is a silence
    assert np.mean(first) > np.mean(last) + 1


def test_the_same_bits_again(splits):
    again = tones.load(context=64, train=256, held_out=64, eval_train=16)
    for name, split in splits.items():
        for leaf in split:
            np.testing.assert_array_equal(split[leaf], again[name][leaf])


def test_context_sets_the_number_of_words():
    assert [tones.most_words(context) for context in (41, 63, 64, 87)] == [2, 2, 3, 4]
    assert tones.load(context=87, train=16, held_out=8, eval_train=8)["train"]["labels"].shape == (16, 11)
    with pytest.raises(ValueError, match="41 frames"):
        tones.most_words(40)


def test_words_of_the_validation_split():
    labels = tones.load(context=64, train=8, held_out=1024, eval_train=8)["validation"]["labels"]
    words = np.sum(labels == 1) + len(labels)  # label 1 is the space
    assert words == 2569  # metric_resolution of the workloads
