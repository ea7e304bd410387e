"""Joined spoken digits: splits, features, the joining of recordings, faults."""

import hashlib
import wave

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import spoken_digits
from algoperf_lite.tasks import speech

# sha256 of the file names, one a line
NAMES = {
    "train": "436b6eeac3cc79c62dc3c55215a54ba4d27d15cbaa00dbdf86ecdfd07e22365e",
    "validation": "57ef7680d19fab5cf688fc5730e6df0f044c58308a490a8d2a030a1711b5b991",
    "test": "e4a296585252c4826f662400eb4d286ba4be77d4c61923230f4087c2ecfaa86d",
}


def write_recordings(folder):
    """The data set's files with noise of 0.15 to 0.25 s instead of speech."""
    rng = np.random.default_rng(0)
    (folder / "recordings").mkdir(parents=True)
    noise = (rng.standard_normal(4000) * 1000).astype("<i2")
    for split in spoken_digits.SPEAKERS:
        for name in spoken_digits.recordings(split):
            start, length = rng.integers(0, 1000), rng.integers(1200, 2000)
            with wave.open(str(folder / "recordings" / name), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(noise[start : start + length].tobytes())
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("data") / "fsdd")


@pytest.fixture(scope="module")
def splits(folder):
    return spoken_digits.load(folder, context=100, held_out=24, eval_train=8)


def _bank():
    """Two speakers with three recordings each, of 2, 3 and 4 frames, whose frames tell where they come from."""
    clips = 100.0 * np.arange(6).reshape(2, 3, 1, 1) + np.arange(4.0)[:, None] + np.zeros(2)
    length = np.array([[2, 3, 4]] * 2, np.int32)
    return {"clips": clips.astype(np.float32), "clip_length": length, "digit": np.array([[1, 2, 6], [0, 9, 8]], np.int32)}


def _said(labels):
    return speech.alphabet_text(labels[labels > 0], spoken_digits.ALPHABET)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_files_of_the_splits(split):
    names = spoken_digits.recordings(split)
    assert len(names) == {"train": 2000}.get(split, 500)
    assert hashlib.sha256("\n".join(names).encode()).hexdigest() == NAMES[split]


def test_no_speaker_is_in_two_splits():
    speakers = [{name.split("_")[1] for name in spoken_digits.recordings(split)} for split in spoken_digits.SPEAKERS]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 6


def test_shapes(splits):
    assert splits["train"]["clips"].shape[:2] == (4, 500)
    assert splits["train"]["clips"].shape[3] == spoken_digits.MELS
    for name, count in {"eval_train": 8, "validation": 24, "test": 24}.items():
        split = splits[name]
        assert (split["frames"].shape, split["frames"].dtype) == ((count, 100, 40), np.float32)
        assert (split["length"].shape, split["length"].dtype) == ((count,), np.int32)
        assert (split["labels"].shape, split["labels"].dtype) == ((count, 35), np.int32)
        assert np.all(split["length"] <= 100)
        for row in split["labels"]:
            assert set(_said(row).split(" ")) <= set(spoken_digits.WORDS)


def test_the_same_bits_again(folder, splits):
    again = spoken_digits.load(folder, context=100, held_out=24, eval_train=8)
    for name, split in splits.items():
        for leaf in split:
            np.testing.assert_array_equal(split[leaf], again[name][leaf])


def test_joined_by_hand(monkeypatch):
    monkeypatch.setattr(spoken_digits, "MOST", 3)
    chosen, gaps = np.array([[0, 2, 1], [2, 1, 0]]), np.array([[1, 0, 5], [2, 0, 0]])
    speaker, digits = np.array([[0], [1]]), np.array([[3], [2]])
    found = spoken_digits.joined(_bank(), speaker, chosen, gaps, digits, context=11)
    # one (2 frames), a gap, six (4), two (3); the second: eight (4), a gap of 2, nine (3)
    np.testing.assert_array_equal(found["length"], [10, 9])
    assert [_said(row) for row in found["labels"]] == ["one six two", "eight nine"]
    expected = np.array([0, 1, 1, 200, 201, 202, 203, 100, 101, 102], np.float32)
    expected = (expected - expected.mean()) / (expected.std() + 1e-3)
    np.testing.assert_allclose(found["frames"][0, :10, 0], expected, rtol=1e-5)
    assert np.all(found["frames"][0, 10:] == 0)
    expected = np.array([500, 501, 502, 503, 503, 503, 400, 401, 402], np.float32)
    expected = (expected - expected.mean()) / (expected.std() + 1e-3)
    np.testing.assert_allclose(found["frames"][1, :9, 1], expected, rtol=1e-4)


def test_digits_that_do_not_fit_are_left_out(monkeypatch):
    monkeypatch.setattr(spoken_digits, "MOST", 3)
    arguments = np.array([[0]]), np.array([[0, 2, 1]]), np.array([[1, 0, 0]]), np.array([[3]])
    for context, said, length in ((9, "one six", 7), (7, "one six", 7), (6, "one", 2)):
        found = spoken_digits.joined(_bank(), *arguments, context=context)
        assert _said(found["labels"][0]) == said
        assert found["length"][0] == length


def test_jax_joins_as_numpy_does(splits):
    bank = splits["train"]
    rng = np.random.default_rng(3)
    arguments = (
        rng.integers(0, 4, (5, 1)),
        rng.integers(0, 500, (5, spoken_digits.MOST)),
        rng.integers(0, 20, (5, spoken_digits.MOST)),
        rng.integers(2, 7, (5, 1)),
    )
    ours = spoken_digits.joined(bank, *arguments, 100)
    theirs = spoken_digits.joined(jax.tree.map(jnp.asarray, bank), *map(jnp.asarray, arguments), 100, xp=jnp)
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4)
        assert ours[name].dtype == theirs[name].dtype


def test_a_tone_lies_in_its_band():
    for hertz in (200.0, 1000.0, 3000.0):
        frames = spoken_digits.log_mel(np.sin(2 * np.pi * hertz * np.arange(1600) / 8000).astype(np.float32))
        assert frames.shape == (20, spoken_digits.MELS)
        mel, low, high = (2595 * np.log10(1 + f / 700) for f in (hertz, 60.0, 4000.0))
        centre = (mel - low) / (high - low) * (spoken_digits.MELS + 1) - 1
        assert abs(frames[10].argmax() - centre) < 1


def test_augmentation_hides_little_and_is_keyed():
    frames = jnp.ones((8, 90, 40))
    length = jnp.full(8, 90)
    found = np.asarray(speech.spec_augment(frames, length, 2, jax.random.key(0)))
    assert set(np.unique(found)) == {0.0, 1.0}
    assert 0.3 < found.mean() < 1
    np.testing.assert_array_equal(found, speech.spec_augment(frames, length, 2, jax.random.key(0)))
    assert not np.array_equal(found, speech.spec_augment(frames, length, 2, jax.random.key(1)))
    np.testing.assert_array_equal(speech.spec_augment(frames, length, 0, jax.random.key(0)), frames)
    rows = (found == 0).all(axis=2).sum(axis=1)
    columns = (found == 0).all(axis=1).sum(axis=1)
    assert rows.max() <= 2 * 16
    assert columns.max() <= 2 * 8


def test_training_utterances_are_of_one_speaker_and_keyed(splits):
    bank = {**splits["train"], "digit": np.broadcast_to(np.arange(4)[:, None], (4, 500))}  # whose words tell the speaker
    data = {"train": jax.tree.map(jnp.asarray, bank)}

    def draw(key, step):
        return speech.draw_joined_digits(16, 100, True, data, jax.random.key(key), step)

    first = draw(0, 3)
    for name, leaf in draw(0, 3).items():
        np.testing.assert_array_equal(first[name], leaf)
    said = [_said(np.asarray(row)).split(" ") for row in first["labels"]]
    assert all(len(set(words)) == 1 for words in said)
    assert {words[0] for words in said} == set(spoken_digits.WORDS[:4])
    assert max(map(len, said)) > 1
    for other in (draw(0, 4), draw(1, 3)):
        assert not np.array_equal(first["labels"], other["labels"])
    heard = np.arange(100) < np.asarray(first["length"])[:, None]
    assert np.all(np.asarray(first["frames"])[~heard] == 0)


def test_a_missing_or_short_recording_is_named(tmp_path):
    folder = write_recordings(tmp_path / "fsdd")
    path = folder / "recordings" / "3_george_7.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(bytes(8000))
    with pytest.raises(
        errors.EnvironmentFault, match=r"3_george_7\.wav has 4000 samples at 16000 Hz[\s\S]*data fetch fsdd"
    ):
        spoken_digits.load(folder, context=100, held_out=8, eval_train=8)
    path.unlink()
    with pytest.raises(errors.EnvironmentFault, match=r"3_george_7\.wav is missing"):
        spoken_digits.load(folder, context=100, held_out=8, eval_train=8)
