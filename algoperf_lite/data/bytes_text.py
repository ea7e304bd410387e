"""Plain text as bytes, cut into a training text and disjoint held-out windows."""

from pathlib import Path

import numpy as np

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


def _windows(text: np.ndarray, context: int) -> np.ndarray:
    starts = np.arange(0, len(text) - context, context)
    return text[starts[:, None] + np.arange(context + 1)].astype(np.int32)
