"""Plain text as bytes, cut into a training text and disjoint held-out windows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algoperf_lite.data import formats

VOCABULARY = 256


def load(file: Path, context: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """`train`: `text` [N] uint8, the first 90 %. Splits: `tokens` [windows, context + 1] int32.

    Validation is the first half of the last 10 %, test the second. Windows advance by `context`, so that every byte but
    a split's first is predicted once; `eval_train` windows are spread evenly over the training text.
    """
    text = np.frombuffer(file.read_bytes(), np.uint8)
    train, validation, test = np.split(text, [len(text) * 9 // 10, len(text) * 19 // 20])
    windows = _windows(train, context)
    rows = np.linspace(0, len(windows), eval_train, endpoint=False).astype(int)
    return {
        "train": {"text": train},
        "eval_train": {"tokens": windows[rows]},
        "validation": {"tokens": _windows(validation, context)},
        "test": {"tokens": _windows(test, context)},
    }


def load_books(files: Sequence[Path], dataset: str, context: int, eval_windows: int, eval_train: int):
    """As `load`, for books of Project Gutenberg: of each the first 90 % train, then 5 % test, the last 5 % validation.

    Books without the file's preface and licence follow one another; no held-out window spans two. Of each held-out split
    `eval_windows` windows are taken, spread evenly, and `eval_train` of the training text.

    Raises:
      EnvironmentFault: a file is missing, broken or without the lines that frame a book.
    """
    parts: dict[str, list[np.ndarray]] = {"train": [], "test": [], "validation": []}
    for file in files:
        text = book(file, dataset)
        for part, piece in zip(parts.values(), np.split(text, [len(text) * 9 // 10, len(text) * 19 // 20]), strict=True):
            part.append(piece)
    counts = {"eval_train": eval_train, "validation": eval_windows, "test": eval_windows}
    splits: dict[str, dict[str, np.ndarray]] = {"train": {"text": np.concatenate(parts["train"])}}
    for name, count in counts.items():
        windows = np.concatenate([_windows(piece, context) for piece in parts[name.replace("eval_", "")]])
        splits[name] = {"tokens": windows[np.linspace(0, len(windows), count, endpoint=False).astype(int)]}
    return splits


def book(file: Path, dataset: str) -> np.ndarray:
    """The bytes [N] uint8 between Project Gutenberg's lines `*** START OF` and `*** END OF`, line ends as "\\n"."""
    content = formats.read_bytes(file, dataset).replace(b"\r\n", b"\n")
    start, end = content.find(b"*** START OF"), content.find(b"*** END OF")
    first = content.find(b"\n", start) + 1
    if start < 0 or end < first:
        raise formats.broken(file, dataset, "lacks the lines *** START OF and *** END OF that frame a book")
    return np.frombuffer(content[first:end].strip(), np.uint8)


def unigram_nats(text: np.ndarray, tokens: np.ndarray) -> float:
    """Cross-entropy per predicted byte of windows [N, T + 1] under the byte frequencies of `text`, one added to each."""
    counts = np.bincount(text, minlength=VOCABULARY) + 1.0
    return float(-np.mean(np.log(counts / counts.sum())[tokens[:, 1:]]))


def bigram_nats(text: np.ndarray, tokens: np.ndarray) -> float:
    """As `unigram_nats`, given the byte before; the counts of a pair get the unigram law as one pseudo-observation."""
    unigram = np.bincount(text, minlength=VOCABULARY) + 1.0
    unigram /= unigram.sum()
    pairs = np.bincount(text[:-1].astype(np.int64) * VOCABULARY + text[1:], minlength=VOCABULARY**2)
    law = pairs.reshape(VOCABULARY, VOCABULARY) + unigram
    law /= law.sum(axis=1, keepdims=True)
    return float(-np.mean(np.log(law[tokens[:, :-1], tokens[:, 1:]])))


def _windows(text: np.ndarray, context: int) -> np.ndarray:
    starts = np.arange(0, len(text) - context, context)
    return text[starts[:, None] + np.arange(context + 1)].astype(np.int32)
