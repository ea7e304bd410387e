"""Tokenised sentence pairs as padded arrays of word numbers, and the conventions of every translation reader.

A sentence is a row [length] int32: words, in a target `EOS` after the last, then `PAD`. No reader writes `BOS`; it is what
a decoder starts from.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algoperf_lite.data import formats

PAD, BOS, EOS, UNKNOWN = range(4)
SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")


def load(
    folder: Path,
    source: str,
    target: str,
    *,
    lengths: tuple[int, int],
    vocabularies: tuple[int, int],
    eval_train: int,
) -> dict[str, dict[str, np.ndarray]]:
    """The pairs of `folder` / train, dev, test . language, one sentence a line, words parted by blanks.

    Splits have `source` [N, lengths[0]] and `target` [N, lengths[1]]; those that are evaluated (`eval_train`, `validation`,
    `test`) also `reference` of the target's shape: the target with words that the vocabulary lacks under numbers of their
    own beyond it, so that an `<unk>` never counts as right. Those splits are sorted by the source's length, so that a batch
    of short sentences can stop decoding early.

    Args:
      folder: that of the data set, whose name is the folder's.
      source, target: languages, the files' suffixes.
      lengths: words of a source, words of a target and its `EOS`. Training pairs beyond are left out; of an evaluated pair
        the source is cut.
      vocabularies: number of words of source and target, `SPECIALS` included: the most frequent in training, ties in
        alphabetical order.
      eval_train: how many training pairs the evaluation on training data sees, spread evenly over the file.

    Raises:
      EnvironmentFault: a file is missing or damaged, or its number of lines is not its counterpart's.
      ValueError: an evaluated target is longer than `lengths[1]` allows.
    """
    text = {name: _pairs(folder, name, (source, target)) for name in ("train", "dev", "test")}
    fitting = [pair for pair in text["train"] if len(pair[0]) <= lengths[0] and len(pair[1]) < lengths[1]]
    words = [vocabulary([pair[side] for pair in text["train"]], size) for side, size in enumerate(vocabularies)]
    rows = np.linspace(0, len(fitting), eval_train, endpoint=False).astype(int)
    evaluated = {"eval_train": [fitting[row] for row in rows], "validation": text["dev"], "test": text["test"]}
    splits = {"train": _arrays(fitting, words, lengths)}
    for name, pairs in evaluated.items():
        ordered = sorted(pairs, key=lambda pair: len(pair[0]))
        splits[name] = _arrays(ordered, words, lengths) | {"reference": _references(ordered, words[1], lengths[1])}
    return splits


def vocabulary(sentences: Sequence[Sequence[str]], size: int) -> dict[str, int]:
    """Numbers of the `size` most frequent words of the sentences, `SPECIALS` included and first."""
    counts = Counter(word for sentence in sentences for word in sentence if word not in SPECIALS)
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate([*SPECIALS, *ordered][:size])}


def pack(sentences: Sequence[Sequence[int]], length: int) -> np.ndarray:
    """Rows of numbers as one array [N, length] int32, padded with `PAD`; raises ValueError where one is longer."""
    sizes = np.array([len(sentence) for sentence in sentences])
    if sizes.max(initial=0) > length:
        raise ValueError(f"a sentence of {sizes.max()} tokens does not fit {length} positions")
    packed = np.full((len(sentences), length), PAD, np.int32)
    packed[np.arange(length) < sizes[:, None]] = np.fromiter((n for s in sentences for n in s), np.int32, sizes.sum())
    return packed


def _arrays(pairs, words, lengths) -> dict[str, np.ndarray]:
    source = [[words[0].get(word, UNKNOWN) for word in pair[0][: lengths[0]]] for pair in pairs]
    target = [[*(words[1].get(word, UNKNOWN) for word in pair[1]), EOS] for pair in pairs]
    return {"source": pack(source, lengths[0]), "target": pack(target, lengths[1])}


def _references(pairs, words: dict[str, int], length: int) -> np.ndarray:
    known = dict(words)
    del known[SPECIALS[UNKNOWN]]  # the corpus' own marks of a rare word are as wrong an answer as ours
    extra: dict[str, int] = {}
    rows = []
    for _, sentence in pairs:
        rows.append([known[w] if w in known else extra.setdefault(w, len(words) + len(extra)) for w in sentence])
    return pack([[*row, EOS] for row in rows], length)


def _pairs(folder: Path, name: str, languages: tuple[str, str]) -> list[tuple[list[str], list[str]]]:
    sides = []
    for language in languages:
        path = folder / f"{name}.{language}"
        try:
            text = formats.read_bytes(path, folder.name).decode()
        except UnicodeDecodeError as error:
            raise formats.broken(path, folder.name, f"is not text: byte {error.start} is not UTF-8") from error
        sides.append([line.split() for line in text.splitlines()])
    if len(sides[0]) != len(sides[1]):
        path = folder / f"{name}.{languages[1]}"
        raise formats.broken(path, folder.name, f"has {len(sides[1])} lines, its counterpart {len(sides[0])}")
    return list(zip(*sides, strict=True))
