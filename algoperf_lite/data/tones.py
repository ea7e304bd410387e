"""A generated spoken language: words of two letters, every letter a pair of gliding formants in a noisy spectrum.

Like speech it has speakers (vocal tract length, loudness, spectral tilt), durations that vary, letters that run into each
other, and a closed lexicon of 24 of the 144 possible words. Words are parted by silence, which is written as a space, so
that character CTC is scored by a word error rate. The answer "nothing said" has a word error rate of 1.
"""

import numpy as np

LETTERS = "abcdefghijkl"
ALPHABET = " " + LETTERS  # label i + 1 is character i; label 0 is CTC's blank, and padding
BINS = 20
WORDS = 24
_FEWEST_WORDS = 2
_LETTER_FRAMES, _SILENCE_FRAMES = (5, 9), (3, 5)  # shortest and longest
_WIDTHS = 0.035, 0.0455  # of the two formants, as shares of the frequency axis
_NOISE = 0.2


def lexicon() -> list[str]:
    """The 24 words, drawn once without replacement."""
    chosen = np.random.default_rng(41).choice(len(LETTERS) ** 2, WORDS, replace=False)
    return [
        LETTERS[first] + LETTERS[second] for first, second in zip(*np.divmod(np.sort(chosen), len(LETTERS)), strict=True)
    ]


def most_words(context: int) -> int:
    """How many words always fit into `context` frames; an utterance has 2 to that many."""
    longest = 2 * _LETTER_FRAMES[1] + _SILENCE_FRAMES[1]
    words = (context + _SILENCE_FRAMES[1]) // longest
    if words < _FEWEST_WORDS:
        raise ValueError(f"context {context}: two words may take {_FEWEST_WORDS * longest - _SILENCE_FRAMES[1]} frames")
    return words


def load(context: int, train: int, held_out: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits `train`, `eval_train`, `validation`, `test` of `frames` [N, context, 20] float32, standardised by the training
    frames' mean and standard deviation and 0 after the end, `length` [N] int32, and `labels` [N, L] int32, padded by 0.

    Args:
      context: frames of the longest utterance; with it grows the number of words.
      train: utterances of the training set; the first `eval_train` of them are evaluated.
      held_out: utterances each of validation and test.
    """
    counts = {"train": train, "validation": held_out, "test": held_out}
    splits = {name: _utterances(n, context, seed) for (name, n), seed in zip(counts.items(), (11, 12, 13), strict=True)}
    heard = np.arange(context) < splits["train"]["length"][:, None]
    values = splits["train"]["frames"][heard]
    mean, sd = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    for split in splits.values():
        heard = np.arange(context) < split["length"][:, None]
        split["frames"] = np.where(heard[..., None], (split["frames"] - np.float32(mean)) / np.float32(sd), np.float32(0))
    splits["eval_train"] = {name: leaf[:eval_train] for name, leaf in splits["train"].items()}
    return splits


def _letters() -> dict[str, np.ndarray]:
    """Formants of each letter as shares of the frequency axis, their glides over the letter, and amplitudes: [12, 2]."""
    rng = np.random.default_rng(42)
    n = len(LETTERS)
    low, high = rng.uniform(0.08, 0.5, n), rng.uniform(0.5, 0.92, n)
    glides = rng.uniform(-0.1, 0.1, n), rng.uniform(-0.12, 0.12, n)
    return {
        "formants": np.stack([low, high], 1),
        "glides": np.stack(glides, 1),
        "amplitudes": rng.uniform(0.5, 1.0, (n, 2)),
    }


def _utterances(count: int, context: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    most = most_words(context)
    words = rng.integers(_FEWEST_WORDS, most + 1, (count, 1))
    spelled = np.array([[LETTERS.index(letter) for letter in word] for word in lexicon()])
    letters = spelled[rng.integers(0, WORDS, (count, most))]  # [count, most, 2]
    segments = np.concatenate([letters + 1, np.zeros((count, most, 1), int)], axis=2).reshape(count, -1)[:, :-1]
    duration = np.where(
        segments > 0,
        rng.integers(_LETTER_FRAMES[0], _LETTER_FRAMES[1] + 1, segments.shape),
        rng.integers(_SILENCE_FRAMES[0], _SILENCE_FRAMES[1] + 1, segments.shape),
    )
    spoken = np.arange(segments.shape[1]) < 3 * words - 1
    duration = np.where(spoken, duration, 0)
    end = np.cumsum(duration, axis=1)
    t = np.arange(context)
    segment = np.minimum(np.sum(t[:, None] >= end[:, None], axis=2), segments.shape[1] - 1)  # [count, context]
    own = np.take_along_axis(duration, segment, 1)
    phase = ((t - (np.take_along_axis(end, segment, 1) - own) + 0.5) / np.maximum(own, 1)).astype(np.float32)
    symbol = np.take_along_axis(segments, segment, 1)
    frames = _spectra(rng, symbol, phase)
    labels = np.where(spoken, segments + 1, 0)
    return {"frames": frames, "length": end[:, -1].astype(np.int32), "labels": labels.astype(np.int32)}


def _spectra(rng: np.random.Generator, symbol: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """Log spectra [N, T, 20] of letters `symbol` [N, T] (0 is silence) at `phase` in 0..1 of each."""
    speakers = (len(symbol), 1)
    tract = np.exp(0.06 * rng.standard_normal(speakers))
    gain = np.exp(0.3 * rng.standard_normal(speakers))
    tilt = 0.3 * rng.standard_normal(speakers)
    envelope = np.where(symbol > 0, np.sin(np.pi * (0.8 * phase + 0.1)), 0.0) * gain
    axis = np.linspace(0.0, 1.0, BINS, dtype=np.float32)
    found = np.float32(_NOISE) * rng.standard_normal((*symbol.shape, BINS), dtype=np.float32)
    voice = {name: np.concatenate([np.zeros((1, 2)), table]) for name, table in _letters().items()}
    for i, width in enumerate(_WIDTHS):
        centre = tract * (voice["formants"][symbol, i] + voice["glides"][symbol, i] * (phase - 0.5))
        height = (envelope * voice["amplitudes"][symbol, i]).astype(np.float32)
        distance = (axis - centre[..., None].astype(np.float32)) / np.float32(width)
        found += height[..., None] * np.exp(np.float32(-0.5) * distance * distance)
    return np.log(np.float32(0.05) + np.abs(found)) + (tilt * axis).astype(np.float32)[:, None]
