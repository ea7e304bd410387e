"""UCI Adult as splits."""

import hashlib
import shutil

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import adult, fetch


@pytest.fixture
def data(real_data):
    return adult.load(fetch.path("adult"), eval_train=512)


def test_sizes_types_and_categories(data):
    sizes = {name: len(part["label"]) for name, part in data.items()}
    assert sizes == {"train": adult.TRAIN, "validation": 3257, "test": 16_281, "eval_train": 512}
    train = data["train"]
    assert (train["categories"].dtype, train["dense"].dtype, train["label"].dtype) == (np.uint8, np.float32, np.uint8)
    seen = np.concatenate([train["categories"], data["validation"]["categories"]])
    assert tuple((seen.max(axis=0) + 1).tolist()) == adult.FIELDS
    np.testing.assert_allclose(train["dense"].mean(axis=0, dtype=np.float64), 0.0, atol=1e-5)
    np.testing.assert_allclose(train["dense"].std(axis=0, dtype=np.float64), 1.0, atol=1e-5)


def test_base_rates_are_the_published_ones(data):
    known = np.concatenate([data["train"]["label"], data["validation"]["label"]])
    assert known.sum() == 7841
    assert data["test"]["label"].sum() == 3846
    np.testing.assert_array_equal(data["eval_train"]["label"], data["train"]["label"][:512])


def test_the_splits_are_these(data):
    found = hashlib.sha256()
    for split in ("train", "validation", "test"):
        for name in ("categories", "label"):
            found.update(data[split][name].tobytes())
    assert found.hexdigest() == "a2b706fb27d8bd10acdbb1cfe318f438e07abab97c9069b27c52e64c0bd6f521"


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("State-gov", "State-gou", "categories, expected"),
        ("39, State-gov", "old, State-gov", "numeric column"),
        (", <=50K\n50,", ", rich\n50,", "labels other than"),
        (", 2174, 0", ", 2174", "14 fields, expected 15"),
    ],
)
def test_another_file_is_refused(real_data, tmp_path, old, new, why):
    home = fetch.path("adult")
    text = (home / "adult.data").read_text()
    assert old in text
    (tmp_path / "adult.data").write_text(text.replace(old, new, 1))
    shutil.copy(home / "adult.test", tmp_path)
    with pytest.raises(errors.EnvironmentFault, match=why):
        adult.load(tmp_path, eval_train=8)


def test_an_unknown_category_in_the_test_set_is_refused(real_data, tmp_path):
    home = fetch.path("adult")
    text = (home / "adult.test").read_text()
    (tmp_path / "adult.test").write_text(text.replace("Private", "Secret", 1))
    shutil.copy(home / "adult.data", tmp_path)
    with pytest.raises(errors.EnvironmentFault, match="unknown category 'Secret' in column 2"):
        adult.load(tmp_path, eval_train=8)
