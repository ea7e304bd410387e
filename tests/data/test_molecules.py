"""Tables of molecules as padded graphs."""

import hashlib

import numpy as np
import pytest

from algoperf_lite import errors
from algoperf_lite.data import fetch, molecules, smiles


def _write(folder, text):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_a_molecule_as_arrays():
    graphs, kept = molecules.padded([smiles.parse("C[N+]#N"), smiles.parse("[Na]"), smiles.parse("CCCCC")], 4, 3)
    assert kept.tolist() == [0, 1]  # the last one does not fit
    assert graphs["sizes"].tolist() == [[3, 4], [1, 0]]
    element = molecules.ELEMENTS.index
    assert graphs["nodes"][0].tolist() == [
        [element("C"), 0, 1, 3, 0, 0],
        [element("N"), 1, 2, 0, 0, 0],
        [element("N"), 0, 1, 0, 0, 0],
        [0] * 6,
    ]
    assert graphs["senders"][0].tolist() == [0, 1, 1, 2, 0, 0]
    assert graphs["receivers"][0].tolist() == [1, 0, 2, 1, 0, 0]
    assert graphs["edges"][0].tolist() == [[0, 0], [0, 0], [2, 0], [2, 0], [0, 0], [0, 0]]


def test_features_stay_within_their_categories():
    strange = ["[Pu+4]", "C(C)(C)(C)(C)(C)(C)(C)C", "[CH9]", "[U]$[U]", "c1ccccc1~C", "[O-][O-2]"]
    graphs, _ = molecules.padded([smiles.parse(text) for text in strange], 9, 9)
    assert np.all(graphs["nodes"] < molecules.NODE_CATEGORIES)
    assert np.all(graphs["edges"] < molecules.EDGE_CATEGORIES)
    assert graphs["nodes"][0, 0].tolist() == [len(molecules.ELEMENTS), 3, 0, 0, 0, 0]


def test_equal_strings_share_a_part_and_rows_are_used_once():
    strings = [f"C{'C' * (i % 70)}" for i in range(200)]
    parts = molecules.split(strings)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(200))
    sets = [{strings[row] for row in rows} for rows in parts.values()]
    assert [len(s) for s in sets] == [56, 7, 7]
    assert len(set.union(*sets)) == 70


def test_labels_and_what_is_missing(tmp_path):
    path = _write(tmp_path, "smiles,a,b\nCC,1,\nCO,0,1\n")
    strings, labels = molecules.table(path, "molecules")
    assert strings == ["CC", "CO"]
    np.testing.assert_array_equal(labels, [[1, -1], [0, 1]])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mol,a\nCC,1\n", "begins with the column 'mol'"),
        ("smiles,a\nCC,2\n", "has the label '2'"),
        ("smiles,a\nCC\n", "1 fields, expected 2"),
    ],
)
def test_another_table_is_refused(tmp_path, text, why):
    with pytest.raises(errors.EnvironmentFault, match=why):
        molecules.table(_write(tmp_path, text), "molecules")


def _digest(data):
    found = hashlib.sha256()
    for split in ("train", "validation", "test", "eval_train"):
        for name in sorted(data[split]):
            found.update(np.ascontiguousarray(data[split][name]).tobytes())
    return found.hexdigest()


def test_splits_of_tox21(real_data):
    path = fetch.path("molecules") / "tox21.csv"
    data = molecules.load(path, "molecules", atoms=64, bonds=72, eval_train=512)
    sizes = {name: len(part["labels"]) for name, part in data.items()}
    assert sizes == {"train": 6212, "validation": 777, "test": 776, "eval_train": 512}
    assert _digest(data) == "9306d6e08ae570e4becff66ba080de6b4bf2419e4f559835e813feb71274b5e3"
    for part in data.values():
        assert set(np.unique(part["labels"])) == {-1, 0, 1}
        assert part["sizes"][:, 0].max() <= 64
