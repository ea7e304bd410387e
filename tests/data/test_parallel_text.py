"""Sentence pairs from text: vocabularies, padding, references, and the real corpus of the mirror."""

import hashlib

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import parallel_text
from algoperf_lite.data.parallel_text import EOS, PAD, SPECIALS, UNKNOWN

TEXT = {
    "train.ja": "い ろ は\nろ は\nは に ほ へ\nは\n",
    "train.en": "a b c\nb c\nc d\nc <unk> b c d\n",
    "dev.ja": "は ろ い に ほ へ\nろ\n",
    "dev.en": "c x a\nb y x\n",
    "test.ja": "い\n",
    "test.en": "<unk> c\n",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TEXT.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def _load(folder, **changed):
    fields = {"lengths": (4, 6), "vocabularies": (6, 7), "eval_train": 2, **changed}
    return parallel_text.load(folder, "ja", "en", **fields)


def test_vocabulary_is_the_most_frequent_words():
    found = parallel_text.vocabulary([["b", "a", "c"], ["c", "<unk>", "<s>"]], 6)
    assert found == {**{word: i for i, word in enumerate(SPECIALS)}, "c": 4, "a": 5}  # of a and b the first
    assert [SPECIALS[n] for n in (PAD, EOS, UNKNOWN)] == ["<pad>", "</s>", "<unk>"]


def test_pairs_as_numbers(folder):
    data = _load(folder)  # ja: は 4, ろ 5; en: c 4, b 5, d 6
    assert data["train"]["source"].tolist() == [[3, 5, 4, 0], [5, 4, 0, 0], [4, 3, 3, 3], [4, 0, 0, 0]]
    assert data["train"]["target"].tolist() == [
        [3, 5, 4, 2, 0, 0],
        [5, 4, 2, 0, 0, 0],
        [4, 6, 2, 0, 0, 0],
        [4, 3, 5, 4, 6, 2],
    ]
    assert set(data["train"]) == {"source", "target"}
    assert all(leaf.dtype == np.int32 for split in data.values() for leaf in split.values())


def test_references_are_whole_and_never_unknown(folder):
    data = _load(folder)
    validation = data["validation"]  # the shorter source first; the longer is cut
    assert validation["source"].tolist() == [[5, 0, 0, 0], [4, 5, 3, 3]]
    assert validation["target"].tolist() == [[5, 3, 3, 2, 0, 0], [4, 3, 3, 2, 0, 0]]
    y, x, a = 7, 8, 9
    assert validation["reference"].tolist() == [[5, y, x, 2, 0, 0], [4, x, a, 2, 0, 0]]
    assert data["test"]["target"].tolist() == [[3, 4, 2, 0, 0, 0]]
    assert data["test"]["reference"].tolist() == [[7, 4, 2, 0, 0, 0]]  # the corpus' own mark, too, is a wrong answer


def test_long_training_pairs_are_left_out(folder):
    assert len(_load(folder, lengths=(3, 6))["train"]["source"]) == 3
    data = _load(folder, lengths=(4, 5))
    assert len(data["train"]["target"]) == 3
    assert len(data["validation"]["source"]) == 2
    with pytest.raises(ValueError, match="a sentence of 4 tokens does not fit 3"):
        _load(folder, lengths=(4, 3))


def test_broken_corpora_are_reported(folder):
    (folder / "dev.en").write_text("one line\n")
    with pytest.raises(errors.EnvironmentFault, match=r"dev\.en has 1 lines, its counterpart 2"):
        _load(folder)
    (folder / "dev.en").write_bytes(b"a \xff\n b")
    with pytest.raises(errors.EnvironmentFault, match="is not text: byte 2 is not UTF-8"):
        _load(folder)
    (folder / "dev.en").unlink()
    with pytest.raises(errors.EnvironmentFault, match="is missing"):
        _load(folder)


HASHES = {
    "train": "f67b93b54ed51290",
    "eval_train": "0439cf115303ea20",
    "validation": "d0d323b694f60655",
    "test": "3bd0bc977c1968c1",
}


def test_the_corpus_of_the_mirror(mirror, tmp_path, monkeypatch):
    from workloads import tanaka_mt

    monkeypatch.setenv("ALGOPERF_LITE_MIRROR", str(mirror))
    monkeypatch.setenv("ALGOPERF_LITE_DATA", str(tmp_path))
    data = tanaka_mt.load(tanaka_mt.SOURCE_LENGTH)
    sizes = {name: len(split["source"]) for name, split in data.items()}
    assert sizes == {"train": 50_000, "eval_train": 128, "validation": 500, "test": 500}  # no pair is left out
    hashes = {
        name: hashlib.sha256(b"".join(split[leaf].tobytes() for leaf in sorted(split))).hexdigest()[:16]
        for name, split in data.items()
    }
    assert hashes == HASHES
    train = data["train"]
    known = [np.mean(train[side][train[side] > EOS] != UNKNOWN) for side in ("source", "target")]
    assert known == pytest.approx([0.9903, 0.9935], abs=2e-4)
    pairs = {
        name: {s.tobytes() + t.tobytes() for s, t in zip(d["source"], d["target"], strict=True)} for name, d in data.items()
    }
    # No pair of words is shared; with <unk> for rare words three pairs look the same.
    assert {name: len(pairs["train"] & pairs[name]) for name in ("validation", "test")} == {"validation": 2, "test": 1}
    words = {
        name: set(map(str, parallel_text._pairs(tmp_path / "small_parallel_enja", name, ("ja", "en"))))
        for name in ("train", "dev", "test")
    }
    assert not words["train"] & (words["dev"] | words["test"])
    shorter = tanaka_mt.load(8)
    assert len(shorter["train"]["source"]) < 50_000
    assert len(shorter["validation"]["source"]) == 500
