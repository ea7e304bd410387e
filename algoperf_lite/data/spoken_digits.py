"""Spoken digits joined to utterances, from the Free Spoken Digit Dataset: 8 kHz, 6 speakers x 10 digits x 50 recordings.

Source: https://github.com/Jakobovski/free-spoken-digit-dataset. An utterance is 2 to 6 digits of one speaker with short
gaps, transcribed as words in characters. Speakers are kept apart: in alphabetical order the first four are training, the
fifth validation, the sixth test, so a model is judged on a voice that it has never heard.
"""

import functools
from pathlib import Path

import numpy as np

from algoperf_lite.data import formats

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ALPHABET = " " + "".join(sorted(set("".join(WORDS))))  # label i + 1 is character i; label 0 is CTC's blank, and padding
SPEAKERS = {"train": ("george", "jackson", "lucas", "nicolas"), "validation": ("theo",), "test": ("yweweler",)}
MELS = 40
FEWEST, MOST = 2, 6  # digits of an utterance
LONGEST_GAP = 20  # frames
_TAKES = 50
_RATE, _WINDOW, _HOP, _FFT = 8000, 200, 80, 512  # 25 ms windows every 10 ms
_FLOOR = 1e-6
_LOWEST = 60.0  # Hz


def recordings(split: str) -> list[str]:
    """File names of a split, by speaker, digit and take."""
    return [f"{digit}_{speaker}_{take}.wav" for speaker in SPEAKERS[split] for digit in range(10) for take in range(_TAKES)]


def load(folder: Path, context: int, held_out: int, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """`train`: the recordings themselves, `clips` [speakers, 500, F, 40] float32 log-mel frames and `clip_length`, `digit`
    [speakers, 500] int32. Splits `eval_train`, `validation`, `test`: utterances `frames`, `length`, `labels` of `joined`.

    Args:
      folder: the data set, with `recordings/`.
      context: frames of the longest utterance.
      held_out: utterances each of validation and test.
      eval_train: utterances of the training speakers that are evaluated.

    Raises:
      EnvironmentFault: a recording is missing, no intact wav file, or of another rate.
    """
    banks = {split: _bank(folder, split) for split in SPEAKERS}
    evaluated = {"eval_train": ("train", eval_train), "validation": ("validation", held_out), "test": ("test", held_out)}
    splits = {}
    for seed, (name, (source, count)) in enumerate(evaluated.items(), 21):
        rng = np.random.default_rng(seed)
        bank = banks[source]
        speaker = rng.integers(0, len(bank["digit"]), (count, 1))
        chosen = rng.integers(0, bank["digit"].shape[1], (count, MOST))
        gaps = rng.integers(0, LONGEST_GAP + 1, (count, MOST))
        splits[name] = joined(bank, speaker, chosen, gaps, rng.integers(FEWEST, MOST + 1, (count, 1)), context)
    return {"train": banks["train"], **splits}


def joined(bank, speaker, chosen, gaps, digits, context: int, xp=np) -> dict:
    """Utterances of `bank` (the layout of `train`), for NumPy arrays or, with `xp=jax.numpy`, JAX's.

    A gap holds the last frame of the digit before it. Digits that would end after `context` frames are left out. Frames are
    standardised per utterance and mel band, and 0 after the end.

    Args:
      bank: recordings, as `load` gives them under `train`.
      speaker: [N, 1] row of the speaker.
      chosen: [N, 6] recordings of that speaker.
      gaps: [N, 6] frames of silence after each.
      digits: [N, 1] how many of the six are said.
      context: frames of the longest utterance.
      xp: the array module.

    Returns:
      `frames` [N, context, 40] float32, `length` [N] int32, `labels` [N, 35] int32, padded by 0.
    """
    own = bank["clip_length"][speaker, chosen]
    end = xp.cumsum(own + gaps, axis=1)
    said = (xp.arange(MOST) < digits) & (end - gaps <= context)
    length = xp.max(xp.where(said, end - gaps, 0), axis=1)
    t = xp.arange(context)
    segment = xp.minimum(xp.sum(t[:, None] >= end[:, None], axis=2), MOST - 1)  # [N, context]

    def of_segment(table):
        return xp.take_along_axis(table, segment, 1)

    source = xp.minimum(t - of_segment(end - gaps - own), of_segment(own) - 1)
    frames = bank["clips"][speaker, of_segment(chosen), source]
    heard = (t < length[:, None])[..., None]
    count = length[:, None, None]
    mean = xp.sum(xp.where(heard, frames, 0.0), axis=1, keepdims=True) / count
    centred = xp.where(heard, frames - mean, 0.0)
    sd = xp.sqrt(xp.sum(centred**2, axis=1, keepdims=True) / count)
    spelled = xp.asarray(_spelled())[bank["digit"][speaker, chosen]]  # [N, 6, 6], a space before each word
    labels = xp.where(said[..., None], spelled, 0).reshape(len(said), -1)[:, 1:]
    labels = xp.take_along_axis(labels, xp.argsort(labels == 0, axis=1, stable=True), 1)
    return {
        "frames": (centred / (sd + 1e-3)).astype(xp.float32),
        "length": length.astype(xp.int32),
        "labels": labels.astype(xp.int32),
    }


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Samples [N] at 8 kHz -> log energies of 40 mel bands [N // 80, 40] float32; Hann windows of 25 ms, centred."""
    count = len(samples) // _HOP
    edge = (_WINDOW - _HOP) // 2
    padded = np.pad(samples, (edge, _WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[: count * _HOP : _HOP] * np.hanning(_WINDOW)
    power = np.abs(np.fft.rfft(windows, _FFT)) ** 2
    return np.log(power @ _filters() + _FLOOR).astype(np.float32)


def _mel(hertz: float) -> float:
    return float(2595 * np.log10(1 + hertz / 700))


@functools.cache
def _filters() -> np.ndarray:
    """Triangular filters [257, 40], their corners equally spaced on the mel scale from 60 Hz to 4 kHz."""
    corners = 700 * (10 ** (np.linspace(_mel(_LOWEST), _mel(_RATE / 2), MELS + 2) / 2595) - 1)
    f = np.linspace(0, _RATE / 2, _FFT // 2 + 1)[:, None]
    rising = (f - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - f) / (corners[2:] - corners[1:-1])
    return np.maximum(np.minimum(rising, falling), 0.0)


@functools.cache
def _spelled() -> np.ndarray:
    """Labels of a space and each digit's word, padded by 0: [10, 6] int32."""
    rows = [[ALPHABET.index(c) + 1 for c in f" {word}"] for word in WORDS]
    return np.array([row + [0] * (6 - len(row)) for row in rows], np.int32)


def _bank(folder: Path, split: str) -> dict[str, np.ndarray]:
    clips = []
    for name in recordings(split):
        path = folder / "recordings" / name
        samples, rate = formats.wav(path, "fsdd")
        if rate != _RATE or len(samples) < _WINDOW:
            raise formats.broken(path, "fsdd", f"has {len(samples)} samples at {rate} Hz; accepted are 200 or more at 8000")
        clips.append(log_mel(samples))
    shape = (len(SPEAKERS[split]), 10 * _TAKES)
    length = np.array([len(clip) for clip in clips], np.int32)
    frames = np.zeros((len(clips), length.max(), MELS), np.float32)
    for row, clip in zip(frames, clips, strict=True):
        row[: len(clip)] = clip
    digit = np.array([int(name[0]) for name in recordings(split)], np.int32)
    return {
        "clips": frames.reshape(*shape, *frames.shape[1:]),
        "clip_length": length.reshape(shape),
        "digit": digit.reshape(shape),
    }
