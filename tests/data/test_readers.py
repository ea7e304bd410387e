"""The generated, embedded and text data: fixed splits, known laws, no overlap."""

import numpy as np
import pytest

from algoperf_lite.data import bytes_text, digits, markov


@pytest.fixture(scope="module")
def language():
    return markov.load(context=64, eval_windows=96, eval_train=32)


def test_the_entropy_rate_is_the_recorded_one():
    law = markov.teacher()
    assert law.entropy_rate == pytest.approx(2.4563, abs=5e-5)
    np.testing.assert_allclose(law.conditional.sum(-1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(law.stationary.sum(0), law.stationary.sum(1), atol=1e-10)


def test_the_chains_follow_the_law(language):
    chains, law = language["train"]["chains"], markov.teacher()
    assert chains.shape == (4032, 256)
    before, last, following = chains[:, :-2].ravel(), chains[:, 1:-1].ravel(), chains[:, 2:].ravel()
    surprise = -np.log(law.conditional[before, last, following])
    assert surprise.mean() == pytest.approx(law.entropy_rate, abs=5 * surprise.std() / np.sqrt(surprise.size))


def test_windows_carry_the_law_of_their_next_token(language):
    law = markov.teacher()
    for name in ("validation", "test", "eval_train"):
        tokens, teacher = language[name]["tokens"], language[name]["teacher"]
        assert (tokens.dtype, teacher.dtype) == (np.int32, np.float32)
        assert teacher.shape == (len(tokens), 63, 64)
        np.testing.assert_array_equal(teacher[5, 9], law.conditional[tokens[5, 9], tokens[5, 10]].astype(np.float32))
    assert not np.array_equal(language["validation"]["tokens"], language["test"]["tokens"])
    assert len(language["eval_train"]["tokens"]) == 32


def test_too_many_windows_are_refused():
    with pytest.raises(ValueError, match="not 500"):
        markov.load(context=64, eval_windows=500, eval_train=32)


def test_digits_are_split_by_image_and_standardised():
    data = digits.load(noise=0.0, margin=1, placements=(2, 3, 4), eval_train=100)
    sizes = {name: split["image"].shape for name, split in data.items()}
    assert sizes["train"] == (2000, 12, 12, 1)
    assert [sizes[name][0] for name in ("validation", "test", "eval_train")] == [1200, 1588, 100]
    assert all(split["image"].dtype == np.float32 and split["label"].dtype == np.int32 for split in data.values())
    edge = data["train"]["image"][:, [0, -1]]
    assert np.all(edge == edge[0, 0, 0])  # without noise, the margin holds the background alone
    train = data["train"]["image"].astype(np.float64)
    assert (train.mean(), train.std()) == pytest.approx((0.0, 1.0), abs=1e-4)
    again = digits.load(noise=0.0, margin=1, placements=(2, 3, 4), eval_train=100)
    np.testing.assert_array_equal(again["test"]["image"], data["test"]["image"])


def test_text_windows_are_disjoint_and_predict_every_byte_once(tmp_path):
    text = np.random.default_rng(0).integers(0, 256, 10_000).astype(np.uint8)
    (tmp_path / "text").write_bytes(text.tobytes())
    data = bytes_text.load(tmp_path / "text", context=16, eval_train=8)
    np.testing.assert_array_equal(data["train"]["text"], text[:9000])
    for name, start in (("validation", 9000), ("test", 9500)):
        tokens = data[name]["tokens"]
        np.testing.assert_array_equal(tokens[:, 1:].ravel(), text[start + 1 : start + 1 + 16 * len(tokens)])
        assert len(tokens) == 31
    assert data["eval_train"]["tokens"].shape == (8, 17)
