"""Books as bytes: framed, split by book, and what counting alone predicts."""

import gzip

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import bytes_text


def _file(path, body, start=b"*** START OF THIS BOOK ***\r\n", end=b"*** END OF THIS BOOK ***\r\n"):
    path.write_bytes(gzip.compress(b"preface\r\n" + start + body + end + b"licence *** START: FULL ***\r\n"))
    return path


def test_a_book_is_what_its_frame_holds(tmp_path):
    file = _file(tmp_path / "book.txt.gz", b"\r\none\r\ntwo *** three\r\n\r\n")
    assert bytes(bytes_text.book(file, "gutenberg")) == b"one\ntwo *** three"


@pytest.mark.parametrize("frame", [{"start": b""}, {"end": b""}])
def test_a_book_without_its_frame_is_refused(tmp_path, frame):
    file = _file(tmp_path / "book.txt.gz", b"text", **frame)
    with pytest.raises(errors.EnvironmentFault, match="lacks the lines"):
        bytes_text.book(file, "gutenberg")


def test_every_book_gives_to_every_split(tmp_path):
    rng = np.random.default_rng(0)
    bodies = [rng.integers(97, 110, 4000).astype(np.uint8), rng.integers(110, 122, 6000).astype(np.uint8)]
    files = [_file(tmp_path / f"{i}.txt.gz", body.tobytes()) for i, body in enumerate(bodies)]
    data = bytes_text.load_books(files, "gutenberg", context=16, eval_windows=10, eval_train=8)
    np.testing.assert_array_equal(data["train"]["text"], np.concatenate([b[: len(b) * 9 // 10] for b in bodies]))
    for name, low, high in (("test", 0.90, 0.95), ("validation", 0.95, 1.0)):
        tokens = data[name]["tokens"]
        assert (tokens.shape, tokens.dtype) == ((10, 17), np.int32)
        assert len(np.unique(tokens[:, 0] < 110)) == 2  # both books
        pieces = [bytes(b[int(len(b) * low) : int(len(b) * high)]) for b in bodies]
        for window in tokens:
            assert sum(bytes(window.astype(np.uint8)) in piece for piece in pieces) == 1
    assert data["eval_train"]["tokens"].shape == (8, 17)


def test_counting_baselines():
    text = np.frombuffer(b"ab" * 5000, np.uint8)
    tokens = text[: 17 * 4].reshape(4, 17).astype(np.int32)
    assert bytes_text.unigram_nats(text, tokens) == pytest.approx(np.log(2), abs=0.03)
    assert bytes_text.bigram_nats(text, tokens) < 0.01
    rng = np.random.default_rng(0)
    uniform = rng.integers(0, 256, 400_000).astype(np.uint8)
    windows = rng.integers(0, 256, (50, 65))
    assert bytes_text.unigram_nats(uniform, windows) == pytest.approx(np.log(256), abs=0.01)
    assert bytes_text.bigram_nats(uniform, windows) == pytest.approx(np.log(256), abs=0.25)
    assert bytes_text.bigram_nats(uniform, windows) > np.log(256)  # sampling noise of the pairs costs nats


def test_real_books(mirror):
    files = [mirror / "gutenberg" / f"{name}.txt.gz" for name in ("2600-0", "135-0")]
    data = bytes_text.load_books(files, "gutenberg", context=128, eval_windows=512, eval_train=64)
    text, tokens = data["train"]["text"], data["validation"]["tokens"]
    assert len(text) == TRAIN_BYTES
    assert b"Project Gutenberg" not in bytes(text)[:100_000]
    nats = bytes_text.unigram_nats(text, tokens), bytes_text.bigram_nats(text, tokens)
    assert nats == pytest.approx(BASELINES, abs=2e-3)


TRAIN_BYTES = 5_860_530
BASELINES = (3.1591, 2.4790)
