"""UCI Adult (Kohavi, KDD 1996): does a person of the 1994 US census earn over 50,000 dollars a year?

8 categorical and 6 numeric columns. A missing value, `?`, is a category of its own.
"""

from pathlib import Path

import numpy as np

from algoperf_lite.data import formats

FIELDS = (9, 16, 7, 15, 6, 5, 2, 42)
"""Categories of work class, education, marital status, occupation, relationship, race, sex and native country."""
DENSE = 6
_NAME = "adult"
_CATEGORICAL = (1, 3, 5, 6, 7, 8, 9, 13)
_NUMERIC = (0, 2, 4, 10, 11, 12)  # age, weight of the census, years of education, capital gain and loss, hours a week
_SKEWED = (3, 4)  # of the numeric ones: capital gain and loss, mostly 0
_COLUMNS = 15
TRAIN = 29_304


def load(folder: Path, eval_train: int) -> dict[str, dict[str, np.ndarray]]:
    """Splits with `categories` [N, 8] uint8, `dense` [N, 6] float32 and `label` [N] uint8.

    A fixed permutation cuts `adult.data` into 90 % train and 10 % validation; `adult.test` is the test set. Dense features
    are standardised by the training part, capital gain and loss after log(1 + x). `eval_train` is the beginning of `train`.

    Raises:
      EnvironmentFault: a file is missing or is not the one of this data set.
    """
    files = [folder / "adult.data", folder / "adult.test"]
    known, held_out = (_rows(file, skip) for file, skip in zip(files, (0, 1), strict=True))
    values = [sorted({row[column] for row in known}) for column in _CATEGORICAL]
    if tuple(map(len, values)) != FIELDS:
        raise formats.broken(files[0], _NAME, f"has {tuple(map(len, values))} categories, expected {FIELDS}")
    order = np.random.default_rng(0).permutation(len(known))
    known = [known[row] for row in order]
    count = len(known) * 9 // 10
    parts = {"train": known[:count], "validation": known[count:], "test": held_out}
    splits = {name: _arrays(rows, values, files[name == "test"]) for name, rows in parts.items()}
    mean, sd = splits["train"]["dense"].mean(axis=0), splits["train"]["dense"].std(axis=0)
    for part in splits.values():
        part["dense"] = ((part["dense"] - mean) / sd).astype(np.float32)
    return splits | {"eval_train": {name: leaf[:eval_train] for name, leaf in splits["train"].items()}}


def _rows(file: Path, skip: int) -> list[list[str]]:
    return formats.table(file, _NAME, columns=_COLUMNS, skip=skip)


def _arrays(rows: list[list[str]], values: list[list[str]], file: Path) -> dict[str, np.ndarray]:
    columns = list(zip(*rows, strict=True))
    try:
        dense = np.array([columns[column] for column in _NUMERIC], np.float64).T
    except ValueError as error:
        raise formats.broken(file, _NAME, f"has a numeric column with another value: {error}") from error
    dense[:, _SKEWED] = np.log1p(dense[:, _SKEWED])
    categories = []
    for column, known in zip(_CATEGORICAL, values, strict=True):
        index = {value: i for i, value in enumerate(known)}
        unknown = sorted(set(columns[column]) - index.keys())
        if unknown:
            raise formats.broken(file, _NAME, f"has the unknown category {unknown[0]!r} in column {column + 1}")
        categories.append([index[value] for value in columns[column]])
    income = [value.rstrip(".") for value in columns[-1]]
    if not set(income) <= {"<=50K", ">50K"}:
        raise formats.broken(file, _NAME, "has labels other than <=50K and >50K")
    return {
        "categories": np.array(categories, np.uint8).T.copy(),
        "dense": dense,
        "label": np.array([value == ">50K" for value in income], np.uint8),
    }
